//! Colours that people with any colour vision tell apart.

/// Okabe and Ito 2008, "Color Universal Design", the darkest and the lightest last.
pub const CATEGORIES: [&str; 8] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#f0e442",
];

/// What has no value.
pub const NONE: &str = "#bdbdbd";
/// Text and axes.
pub const INK: &str = "#222222";
/// Lines behind the marks.
pub const GRID: &str = "#e2e2e2";

/// Every tenth of viridis (van der Walt and Smith 2015).
const VIRIDIS: [[u8; 3]; 11] = [
    [0x44, 0x01, 0x54],
    [0x48, 0x24, 0x75],
    [0x41, 0x44, 0x87],
    [0x35, 0x5f, 0x8d],
    [0x2a, 0x78, 0x8e],
    [0x21, 0x91, 0x8c],
    [0x22, 0xa8, 0x84],
    [0x44, 0xbf, 0x70],
    [0x7a, 0xd1, 0x51],
    [0xbd, 0xdf, 0x26],
    [0xfd, 0xe7, 0x25],
];

/// The colour of a category, by its place.
pub fn category(place: usize) -> &'static str {
    CATEGORIES[place % CATEGORIES.len()]
}

/// The colour of a number, as a part of its range from 0 to 1.
pub fn number(part: f64) -> String {
    let place = part.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let below = (place as usize).min(VIRIDIS.len() - 2);
    let between = place - below as f64;
    let mix = |channel: usize| {
        let [a, b] = [VIRIDIS[below], VIRIDIS[below + 1]].map(|c| f64::from(c[channel]));
        (a + (b - a) * between).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_through_viridis() {
        assert_eq!(number(0.0), "#440154");
        assert_eq!(number(1.0), "#fde725");
        assert_eq!(number(0.5), "#21918c");
        assert_eq!(number(0.55), "#229d88");
        assert_eq!(number(7.0), number(1.0));
    }
}
