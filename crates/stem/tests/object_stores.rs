//! Sources in object stores, against a server that speaks S3 (`moto_server`, of the Python package `moto[server]`) on this machine, and
//! against a web server. Where `moto_server` is not installed the test says so and ends; CI sets `STEM_REQUIRE_MOTO` where it could install it.
#![cfg(feature = "object-stores")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{Case, csv, taste, text};

/// A server that ends with the test.
struct Server {
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts a program that listens to a port, which is its last argument; `None` where there is none that runs.
    fn start(program: &str, args: &[&str], folder: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(args).arg(port.to_string()).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().ok()?;
        let mut server = Self { process, port };
        for _ in 0..300 {
            if server.process.try_wait().unwrap().is_some() {
                return None; // a name without a program behind it
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{program} does not listen");
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let authorization =
            "AWS4-HMAC-SHA256 Credential=key/20240301/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {authorization}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains(" 200 ") || answer.contains(" 204 "), "{method} {path}: {answer}");
    }
}

fn log(rows: usize) -> String {
    csv("user,item,click", rows, |row| {
        let (user, item, click) = taste(row);
        format!("{user},{item},{click}")
    })
}

fn recipe(files: &str) -> String {
    format!(
        "name = \"stored\"\nsource = [{{ name = \"log\", files = [\"{files}\"] }}]\nlabel = [{{ column = \"click\" }}]\nsplit = {{ kind = \"random\" }}\nfield = [{{ column = \"user\", kind = \"category\" }}, {{ column = \"day\", kind = \"category\" }}]\n"
    )
}

/// `stem prepare` with the keys and the address of a store; gives whether it worked and what it said.
fn prepare(case: &Case, recipe: &str, port: u16) -> (bool, String) {
    std::fs::write(case.path("recipe.toml"), recipe).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stem"));
    command.args(["prepare", "--json", "-v", "--recipe"]).arg(case.path("recipe.toml"));
    command.arg("--data").arg(case.dir.path()).arg("--columns").arg(case.path("columns"));
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret").env("AWS_REGION", "us-east-1");
    command.env("AWS_ENDPOINT", format!("http://127.0.0.1:{port}")).env("AWS_ALLOW_HTTP", "true");
    let output = command.output().unwrap();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

fn rows(said: &str) -> u64 {
    let answer = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{said}"));
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
    answer["splits"].as_object().unwrap().values().map(|split| split["rows"].as_u64().unwrap()).sum()
}

#[test]
fn a_log_in_a_bucket_is_read_and_a_part_that_changed_is_noticed() {
    let case = Case::new("unused", "");
    let Some(server) = Server::start("moto_server", &["-H", "127.0.0.1", "-p"], case.dir.path()) else {
        assert!(
            std::env::var_os("STEM_REQUIRE_MOTO").is_none(),
            "moto_server is not installed: pip install 'moto[server]'"
        );
        eprintln!("left out: moto_server is not installed (pip install 'moto[server]')");
        return;
    };
    server.request("PUT", "/bucket", b"");
    server.request("PUT", "/bucket/log/day%3D1/part.csv", log(300).as_bytes());
    server.request("PUT", "/bucket/log/day%3D2/part.csv", log(200).as_bytes());
    server.request("PUT", "/bucket/log/_SUCCESS", b"");
    server.request("PUT", "/bucket/other.csv", b"no table");
    for files in ["s3://bucket/log", "s3://bucket/log/day=*/*.csv", "s3://bucket/log/day=*"] {
        let (worked, said) = prepare(&case, &recipe(files), server.port);
        assert!(worked, "{said}");
        assert_eq!(rows(&said), 500, "{files}");
    }
    let (_, again) = prepare(&case, &recipe("s3://bucket/log"), server.port);
    assert!(!again.contains("copied"), "what did not change is not copied again: {again}");

    std::thread::sleep(Duration::from_millis(1100)); // S3 tells of changes by the second
    server.request("PUT", "/bucket/log/day%3D2/part.csv", log(250).as_bytes());
    let (_, changed) = prepare(&case, &recipe("s3://bucket/log"), server.port);
    assert_eq!((rows(&changed), changed.matches("copied").count()), (550, 1), "{changed}");
    server.request("DELETE", "/bucket/log/day%3D1/part.csv", b"");
    let (_, gone) = prepare(&case, &recipe("s3://bucket/log"), server.port);
    assert_eq!(rows(&gone), 250);

    let (worked, said) = prepare(&case, &recipe("s3://bucket/logs"), server.port);
    assert!(!worked && said.contains("s3://bucket/logs: there is no such object"), "{said}");
    let (worked, said) = prepare(&case, &recipe("s3://basket/log"), server.port);
    assert!(!worked && said.contains("s3://basket/log: "), "{said}");
    let (worked, said) = prepare(&case, &recipe("ftp://host/log.csv"), server.port);
    assert!(!worked && said.contains("\"ftp\" is no object store: s3, gs, az, http or https"), "{said}");
}

#[test]
fn a_file_on_a_web_server_is_read_and_one_that_is_not_there_is_named() {
    let case = Case::new("unused", "");
    std::fs::create_dir_all(case.path("web/day=3")).unwrap();
    std::fs::write(case.path("web/day=3/log.csv"), log(120)).unwrap();
    let Some(server) = Server::start("python3", &["-m", "http.server", "--bind", "127.0.0.1"], case.dir.path()) else {
        assert!(std::env::var_os("STEM_REQUIRE_MOTO").is_none(), "python3 is not installed");
        return;
    };
    let address = |path: &str| format!("http://127.0.0.1:{}/{path}", server.port);
    let (worked, said) = prepare(&case, &recipe(&address("web/day=3/log.csv")), server.port);
    assert!(worked && rows(&said) == 120, "{said}");
    let (worked, said) = prepare(&case, &recipe(&address("web/none.csv")), server.port);
    assert!(!worked && said.contains("none.csv: it cannot be read"), "{said}");
    let (worked, said) = prepare(&case, &recipe(&address("web/*.csv")), server.port);
    assert!(!worked && said.contains("a web server lists no files"), "{said}");
}
