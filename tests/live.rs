//! `flow ui`: the page that follows runs, looked at in a browser.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use flow_tests::browser::Browser;
use flow_tests::shown::{PUBLISH, SEE_ALL};
use flow_tests::{Signal, Test};

/// What a request gets.
fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn port_of(text: &str) -> u16 {
    let (_, rest) = text.split_once("http://127.0.0.1:").unwrap();
    rest.split_once('/').unwrap().0.parse().unwrap()
}

/// A kind that tells a figure by step, and waits before each further one.
const STEPS: &str = r#"#!/bin/sh
if [ "$1" = describe ]; then
    cat <<'END'
{"protocol": 1, "plugin": "steps", "version": "1", "kinds": [{"name": "steps", "version": 1, "summary": "Counts",
"headline": ["loss"], "inputs": [], "outputs": [{"name": "metrics", "type": "metrics"}], "parameters": {"type": "object", "properties": {}}}]}
END
    exit
fi
read -r request
for step in 1 2 3; do
    until test -e "$(dirname "$0")/step-$step"; do sleep 0.05; done
    printf '{"event": "metric", "name": "loss", "value": 0.%d, "step": %d}\n' $((9 - step)) $step
    printf '{"event": "progress", "done": %d, "total": 3, "unit": "epoch"}\n' $step
done
echo '{"loss": 0.6}' > "$(printf %s "$request" | sed -n 's/.*"metrics":"\([^"]*\)".*/\1/p')"
"#;

#[test]
fn the_live_page_follows_a_run_that_was_started_elsewhere() {
    let workflow = r#"
[plugins]
mine = "plugin"

[stages.steps]
uses = "steps"

[stages.first]
run = "until test -e ~/go-1; do sleep 0.05; done; python3 ${inputs.script} train ${outputs.view}"
inputs = { script = { path = "publish.py" } }
outputs = { view = "view/" }

[stages.second]
run = "until test -e ~/go-2; do sleep 0.05; done; cat ${inputs.first}/view.json > ${outputs.o}"
inputs = { first = "first" }
outputs = { o = "o" }
"#;
    let test = Test::new()
        .executable("plugin", STEPS)
        .file("publish.py", PUBLISH)
        .workflow(workflow);
    let mut page = test
        .beside()
        .flow("ui flow.toml")
        .stdout_has("no run yet")
        .start();
    let printed = page.wait_for_stdout("Ctrl-C");
    let port = port_of(&printed);
    let browser = Browser::start(1280, 900);
    if let Some(mut browser) = browser {
        browser.visit(&format!("http://127.0.0.1:{port}/"));
        let state = |label: &str| {
            format!("document.querySelector('.box[data-stage={label}] .state')?.textContent")
        };
        browser.wait(&format!("{}?.includes('will run')", state("first")));
        let run = test.run("").ran("steps first second").start();
        browser.wait(&format!("{}?.includes('running')", state("first")));
        browser.wait(&format!("{}?.includes('waiting')", state("second")));
        // A curve grows while its stage runs.
        browser.click(".box[data-stage=steps]");
        let line = "document.querySelector('#panel polyline')?.getAttribute('points')";
        for step in 1..=2 {
            fs::write(run.path(&format!("step-{step}")), "").unwrap();
            browser.wait(&format!("{line}?.split(' ').length === {step}"));
            browser.wait(&format!("{}?.includes('epoch {step}/3')", state("steps")));
        }
        assert!(
            browser
                .text("document.querySelector('#panel .curves').textContent")
                .contains("loss 0.7000 at 2")
        );
        fs::write(run.path("step-3"), "").unwrap();
        browser.wait(&format!("{}?.startsWith('ran')", state("steps")));
        fs::write(run.path("../go-1"), "").unwrap();
        browser.wait(&format!("{}?.startsWith('ran')", state("first")));
        browser.wait(&format!("{}?.includes('running')", state("second")));
        // Its chart came without a new page.
        browser.value(SEE_ALL);
        browser.wait("document.querySelectorAll('.chart.drawn').length === 2");
        fs::write(run.path("../go-2"), "").unwrap();
        run.finish();
        browser.wait(&format!("{}?.startsWith('ran')", state("second")));
        browser.wait("document.getElementById('facts').textContent.includes(': ok')");
        assert_eq!(browser.errors(), [""; 0]);
    }
    let host = format!("Host: 127.0.0.1:{port}\r\n");
    let get = |path: &str, headers: &str| {
        ask(
            port,
            &format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"),
        )
    };
    assert!(get("/", &host).starts_with("HTTP/1.1 200 "));
    assert!(get("/document.json", &host).contains("\"stages\""));
    for (path, headers, status) in [
        ("/", "Host: flow.example\r\n".to_string(), 403),
        (
            "/document.json",
            format!("Host: flow.example:{port}\r\n"),
            403,
        ),
        (
            "/document.json",
            format!("{host}Origin: http://flow.example\r\n"),
            403,
        ),
        (
            "/document.json",
            format!("{host}Sec-Fetch-Site: cross-site\r\n"),
            403,
        ),
        ("/../../etc/passwd", host.clone(), 404),
        ("/.flow/format", host.clone(), 404),
    ] {
        let answer = get(path, &headers);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path} {headers}: {answer}"
        );
    }
    let post = ask(
        port,
        &format!("POST / HTTP/1.1\r\n{host}Content-Length: 0\r\nConnection: close\r\n\r\n"),
    );
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    page.signal(Signal::INT);
    page.finish();
}
