//! Any bytes in the place of what plugins print: the body of a fuzz target (`fuzz/`), which the tests run for a moment too.

use flow_stage::protocol;

use crate::process::lines::Lines;

/// What a plugin prints. Lines are the same in whatever pieces they come, and an event that is understood is understood
/// again as it is written.
pub fn events(bytes: &[u8]) {
    let pieces = |size: usize| {
        let (mut lines, mut whole) = (Lines::default(), Vec::new());
        for piece in bytes.chunks(size) {
            lines.add(piece, |line| whole.push(line.to_string()));
        }
        lines.end(|line| whole.push(line.to_string()));
        whole
    };
    let lines = pieces(bytes.len().max(1));
    assert_eq!(lines, pieces(3));
    for line in lines {
        if let Ok(event) = serde_json::from_str::<protocol::Event>(&line) {
            let written = serde_json::to_string(&event).expect("an event is JSON");
            assert!(
                serde_json::from_str::<protocol::Event>(&written).is_ok(),
                "{written}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const EVENTS: &[u8] = b"{\"event\":\"progress\",\"done\":1,\"total\":9,\"unit\":\"epoch\"}\n\
        {\"event\":\"metric\",\"name\":\"loss\",\"value\":null,\"step\":3}\r\n\
        {\"event\":\"log\",\"message\":\"\xc3\xa9\",\"facts\":{\"a\":\"1\"}}\n{\"event\":\"error\",\"message\":\"\"}";

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            events(&bytes);
        }

        #[test]
        fn events_with_some_bytes_exchanged(
            edits in prop::collection::vec((any::<Index>(), any::<u8>()), 0..5),
        ) {
            let mut bytes = EVENTS.to_vec();
            for (at, byte) in edits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            events(&bytes);
        }
    }
}
