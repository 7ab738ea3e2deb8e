//! What the tests share: a context in a temporary folder, and a small HTTP server on the loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use flow_stage::dataset::Dataset;
use flow_stage::protocol::Request;
use flow_stage::{Context, Stage};
use sha2::Digest as _;

/// A context whose outputs lie in `folder`.
pub fn context(folder: &Path, parameters: serde_json::Value, seed: u64) -> Context {
    let request = Request {
        protocol: flow_stage::protocol::PROTOCOL,
        kind: String::new(),
        stage: "data".into(),
        parameters: parameters.as_object().unwrap().clone(),
        inputs: Default::default(),
        outputs: ["data", "view", "features", "rows"]
            .map(|role| (role.to_string(), folder.join(role)))
            .into(),
        earlier: Default::default(),
        work: folder.join("work"),
        seed,
        threads: 1,
        device: "cpu".into(),
    };
    Context::new(request, std::io::sink())
}

/// Runs a kind with these parameters, and reads what it wrote.
pub fn run<S: Stage>(parameters: serde_json::Value) -> anyhow::Result<Dataset> {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path(), parameters.clone(), 42);
    serde_json::from_value::<S>(parameters)?.run(&context)?;
    Dataset::read(&context.output("data")?)
}

/// A file that another program wrote; see `tests/fixtures/make.py`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A `.npy` file as `numpy.save` writes it.
pub fn npy(descr: &str, shape: &[usize], content: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let mut file = b"\x93NUMPY\x01\0".to_vec();
    let padded = (10 + dict.len() + 1).next_multiple_of(64) - 10;
    file.extend((padded as u16).to_le_bytes());
    file.extend(format!("{dict:<0$}\n", padded - 1).into_bytes());
    file.extend(content);
    file
}

/// The digest of bytes, as a workflow writes it.
pub fn sha256(bytes: &[u8]) -> String {
    let hash = sha2::Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A server of given files, until the process ends.
pub struct Server(SocketAddr);

impl Server {
    /// Serves each content at its path.
    pub fn start(files: Vec<(&'static str, Vec<u8>)>) -> Self {
        Self::serve(files, false)
    }

    /// Promises each content whole, and sends half of it.
    pub fn start_truncating(files: Vec<(&'static str, Vec<u8>)>) -> Self {
        Self::serve(files, true)
    }

    fn serve(files: Vec<(&'static str, Vec<u8>)>, truncate: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                let _ = lines.find(String::is_empty);
                let path = first.split(' ').nth(1).unwrap_or_default();
                let mut stream = &stream;
                // A client that hangs up early is part of some tests.
                let _ = match files.iter().find(|(name, _)| *name == path) {
                    Some((_, content)) => {
                        let sent = content.len() / if truncate { 2 } else { 1 };
                        write!(
                            stream,
                            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                            content.len()
                        )
                        .and_then(|()| stream.write_all(&content[..sent]))
                    }
                    None => write!(
                        stream,
                        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    ),
                };
            }
        });
        Server(address)
    }

    /// The URL of a path without its first slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.0)
    }
}
