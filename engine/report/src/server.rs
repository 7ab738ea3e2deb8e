//! The page live, on loopback: the document as it is now, and the events of the run as they come.
//!
//! It answers to this machine's own names alone, so that a page of another site, under whatever name, can't read it; it takes
//! nothing but GET, and knows three addresses, none of which is a path of the file system.

use std::io::{self, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use flow_run::record::Event;
use flow_run::record::follow::Follower;
use tiny_http::{Header, Method, Request, Response, Server};

use super::document::Document;
use super::page::{escaped, live};

/// How often the journal is looked at.
const POLL: Duration = Duration::from_millis(150);
/// After so long without an event the connection is tried, to notice that nobody listens any more.
const ALIVE: Duration = Duration::from_secs(10);

/// What is shown.
pub struct Live<'a> {
    /// The document as it is now, complete.
    pub document: &'a (dyn Fn() -> Result<Document> + Sync),
    /// The journal of the run that is shown; none while there is no run.
    pub journal: &'a (dyn Fn() -> Option<PathBuf> + Sync),
}

/// Serves the page until `stop` is set.
///
/// # Errors
/// Where the listener can't be used.
pub fn serve(listener: TcpListener, live: &Live<'_>, stop: &AtomicBool) -> Result<()> {
    let port = listener.local_addr()?.port();
    let server = Server::from_listener(listener, None).map_err(|error| anyhow!("{error}"))?;
    thread::scope(|scope| {
        while !stop.load(Ordering::Relaxed) {
            let Ok(request) = server.recv_timeout(POLL) else {
                continue;
            };
            if let Some(request) = request {
                // A reader that has gone away is no error.
                scope.spawn(move || {
                    let _ = answer(request, port, live, stop);
                });
            }
        }
    });
    Ok(())
}

fn answer(request: Request, port: u16, live: &Live<'_>, stop: &AtomicBool) -> io::Result<()> {
    let header = |name: &'static str| -> Vec<&str> {
        let headers = request.headers().iter();
        headers
            .filter(|header| header.field.equiv(name))
            .map(|header| header.value.as_str())
            .collect()
    };
    if !is_ours(
        &header("Host"),
        &header("Origin"),
        &header("Sec-Fetch-Site"),
        port,
    ) {
        return text(
            request,
            403,
            "flow ui answers to 127.0.0.1 and localhost alone, and to no other page",
        );
    }
    if *request.method() != Method::Get {
        return text(request, 405, "flow ui takes GET alone");
    }
    match request.url() {
        "/" => {
            let (page, policy) = self::live();
            let response = Response::from_string(page)
                .with_header(field("Content-Type", "text/html; charset=utf-8"))
                .with_header(field(
                    "Content-Security-Policy",
                    &format!("{policy}; frame-ancestors 'none'"),
                ));
            request.respond(guarded(response))
        }
        "/document.json" => match (live.document)() {
            Ok(document) => {
                let response = Response::from_string(escaped(&document))
                    .with_header(field("Content-Type", "application/json"));
                request.respond(guarded(response))
            }
            Err(error) => text(request, 500, &format!("{error:#}")),
        },
        "/events" => events(request, live, stop),
        _ => text(request, 404, "there is nothing here"),
    }
}

/// Whether a request comes from a page of ours, or from none: a browser names the host that it was sent to, the origin that sends
/// it, and whether those are one site. A name of another site that was made to lead here is still in the host.
fn is_ours(hosts: &[&str], origins: &[&str], sites: &[&str], port: u16) -> bool {
    let names = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let [host] = hosts else { return false };
    names.iter().any(|name| name == host)
        && origins
            .iter()
            .all(|origin| names.iter().any(|name| *origin == format!("http://{name}")))
        && sites
            .iter()
            .all(|site| matches!(*site, "same-origin" | "none"))
}

fn text(request: Request, status: u16, text: &str) -> io::Result<()> {
    let response = Response::from_string(text)
        .with_status_code(status)
        .with_header(field("Content-Type", "text/plain; charset=utf-8"));
    request.respond(guarded(response))
}

fn guarded<R: io::Read>(response: Response<R>) -> Response<R> {
    let fields = [
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
    ];
    let with = |response: Response<R>, (name, value): (&str, &str)| {
        response.with_header(field(name, value))
    };
    fields.into_iter().fold(response, with)
}

#[allow(
    clippy::expect_used,
    reason = "all names and values are written here, in ASCII"
)]
fn field(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("a header in ASCII")
}

/// Server-sent events: the journal's lines about stages that run; and `document` where the page has to ask for its document anew.
fn events(request: Request, live: &Live<'_>, stop: &AtomicBool) -> io::Result<()> {
    let mut out = request.into_writer();
    write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\nConnection: close\r\n\r\n"
    )?;
    let mut journal = (live.journal)();
    let mut follower = journal.clone().map(Follower::from_now);
    tell(&mut out, DOCUMENT)?;
    let mut told = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(POLL);
        let now = (live.journal)();
        let mut anew = now != journal;
        if anew {
            follower = now.clone().map(Follower::from_now);
            journal = now;
        }
        for event in follower.iter_mut().flat_map(Follower::more) {
            match asks_for(&event) {
                Asks::Line => {
                    tell(&mut out, &serde_json::to_string(&event)?)?;
                    told = Instant::now();
                }
                Asks::Document => anew = true,
                Asks::Nothing => {}
            }
        }
        if anew {
            tell(&mut out, DOCUMENT)?;
            told = Instant::now();
        } else if told.elapsed() > ALIVE {
            out.write_all(b":\n\n")?;
            out.flush()?;
            told = Instant::now();
        }
    }
    Ok(())
}

const DOCUMENT: &str = r#"{"event":"document"}"#;

/// What an event asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asks {
    /// The page hears it.
    Line,
    /// The document tells of it: results, or an end.
    Document,
    Nothing,
}

fn asks_for(event: &Event) -> Asks {
    match event {
        Event::Execute { .. }
        | Event::Waiting { .. }
        | Event::Progress { .. }
        | Event::Metric { .. } => Asks::Line,
        Event::Start { .. } | Event::Stage(_) | Event::Point(_) | Event::Run(_) => Asks::Document,
        Event::Continue { .. } | Event::Warning { .. } | Event::Check(_) | Event::Checked(_) => {
            Asks::Nothing
        }
    }
}

fn tell(out: &mut dyn Write, line: &str) -> io::Result<()> {
    write!(out, "data: {line}\n\n")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_s_names_are_answered() {
        let ours =
            |hosts: &[&str], origins: &[&str], sites: &[&str]| is_ours(hosts, origins, sites, 8000);
        assert!(ours(&["127.0.0.1:8000"], &[], &[]));
        assert!(ours(
            &["localhost:8000"],
            &["http://localhost:8000"],
            &["same-origin"]
        ));
        assert!(ours(&["127.0.0.1:8000"], &[], &["none"]));
        for host in [
            "example.org",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost:8000.example.org",
            "",
        ] {
            assert!(!ours(&[host], &[], &[]), "{host}");
        }
        assert!(!ours(&[], &[], &[]));
        assert!(!ours(&["127.0.0.1:8000", "127.0.0.1:8000"], &[], &[]));
        for origin in [
            "http://example.org",
            "null",
            "https://127.0.0.1:8000",
            "http://127.0.0.1:8001",
        ] {
            assert!(!ours(&["127.0.0.1:8000"], &[origin], &[]), "{origin}");
        }
        assert!(!ours(&["127.0.0.1:8000"], &[], &["cross-site"]));
    }

    #[test]
    fn events_are_told_apart() {
        let asks = |line: &str| asks_for(&Event::read(line.as_bytes()).unwrap());
        let metric = r#"{"event":"metric","label":"a","name":"loss","value":0.5,"step":1}"#;
        assert_eq!(asks(metric), Asks::Line);
        let start = r#"{"event":"start","run":"r","workflow":"w","stages":2}"#;
        assert_eq!(asks(start), Asks::Document);
        let warning = r#"{"event":"warning","message":"m"}"#;
        assert_eq!(asks(warning), Asks::Nothing);
    }
}
