//! The API under input that no client sends, and the details that clients rely on.

use std::{
    io::{Read, Write},
    net::Shutdown,
};

use wadah_testkit::Sandbox;

use crate::{
    http::{connect, exchange, read_head, request},
    sandbox,
};

/// Operations with a JSON body.
const WITH_BODY: &[&str] = &[
    "/containers/create",
    "/containers/none/exec",
    "/exec/none/start",
    "/v1.24/containers/create",
];

/// Bodies that make no sense.
fn malformed() -> Vec<Vec<u8>> {
    let deep = |open: &str| open.repeat(50_000).into_bytes();
    let labels: Vec<_> = (0..200_000).map(|it| format!("\"l{it}\":{it}")).collect();
    let mut bodies = vec![
        b"{".to_vec(),
        b"[]".to_vec(),
        b"5".to_vec(),
        b"\"\"".to_vec(),
        b"{}{}".to_vec(),
        b"{\"Image\":}".to_vec(),
        b"\xff\xfe".to_vec(),
        b"{\"Image\":\"\xff\"}".to_vec(),
        b"{\"Image\":\"\\ud800\"}".to_vec(),
        b"\0\0\0\0".to_vec(),
        deep("["),
        deep("{\"a\":"),
        format!("{{\"Labels\":{{{}}}}}", labels.join(",")).into_bytes(),
    ];
    for field in ["Image", "Cmd", "Env", "Labels", "HostConfig", "Tty", "ExposedPorts", "User"] {
        for value in ["5", "1.5", "{\"a\":[]}", "[[[]]]", "[5]", "\"x\"", "true"] {
            bodies.push(format!("{{\"{field}\":{value}}}").into_bytes());
        }
    }
    for field in ["Memory", "Binds", "PortBindings", "RestartPolicy", "Mounts", "Ulimits", "Dns"] {
        for value in ["\"1g\"", "1e400", "9223372036854775808", "[5]", "[[]]", "{\"a\":5}", "-1.5"]
        {
            let body = format!("{{\"Image\":\"x\",\"HostConfig\":{{\"{field}\":{value}}}}}");
            bodies.push(body.into_bytes());
        }
    }
    bodies
}

#[test]
fn malformed_bodies_are_the_clients_fault() {
    let sandbox = Sandbox::bare().unwrap();
    for path in WITH_BODY {
        for body in malformed() {
            let answer = request(&sandbox.socket(), "POST", path, &body);
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            let is_fault_of_client = (400..500).contains(&answer.status);
            assert!(is_fault_of_client, "{path} {shown}: {} {}", answer.status, answer.text());
            assert!(answer.text().contains("\"message\""), "{path} {shown}: {}", answer.text());
        }
    }
    assert_eq!(request(&sandbox.socket(), "GET", "/_ping", b"").text(), "OK");
}

#[test]
fn a_body_beyond_all_bounds_is_refused_and_costs_no_memory() {
    let sandbox = Sandbox::bare().unwrap();
    let body = vec![b' '; 300 << 20];
    let answer = request(&sandbox.socket(), "POST", "/containers/create", &body);
    assert_eq!(answer.status, 413, "{}", answer.text());
    let status = std::fs::read_to_string(format!("/proc/{}/status", sandbox.daemon_pid())).unwrap();
    let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").trim().parse().unwrap();
    assert!(peak < 100 << 10, "the daemon grew to {peak} KiB");
}

#[test]
fn malformed_paths_and_queries_are_the_clients_fault() {
    let sandbox = Sandbox::bare().unwrap();
    let check = |method: &str, path: &str| {
        let answer = request(&sandbox.socket(), method, path, b"");
        let status = answer.status;
        assert!((400..500).contains(&status), "{method} {path}: {status} {}", answer.text());
    };
    for id in ["..", "%2e%2e", "..%2f..%2fx", "%2ftmp%2fx", "%00", "%zz", "%ff", "a%0ab", "%20"] {
        for (method, operation) in [
            ("GET", "/json"),
            ("GET", "/logs?stdout=1"),
            ("GET", "/top"),
            ("POST", "/start"),
            ("POST", "/stop"),
            ("POST", "/kill"),
            ("POST", "/wait"),
            ("POST", "/attach?stream=1&stdout=1"),
            ("POST", "/rename?name=x2"),
            ("DELETE", ""),
        ] {
            check(method, &format!("/containers/{id}{operation}"));
        }
        check("GET", &format!("/exec/{id}/json"));
        check("GET", &format!("/images/{id}/json"));
        check("DELETE", &format!("/images/{id}"));
        check("GET", &format!("/networks/{id}"));
    }
    for query in
        ["filters=x", "filters={\"a\":[]", "filters={\"nope\":[\"x\"]}", "limit=x", "%zz=1"]
    {
        check("GET", &format!("/containers/json?{query}"));
    }
    for query in ["since=x", "until=-x", "since=5&until=1", "filters=[]"] {
        check("GET", &format!("/events?{query}"));
    }
    check("GET", "/containers/x/logs");
    check("GET", "/v1.23/info");
    check("GET", "/v1.99/info");
    check("GET", "/v1.x/info");
    check("GET", &format!("/{}", "a/".repeat(3000)));
    check("PATCH", "/info");
}

#[test]
fn garbage_on_the_socket_harms_nobody() {
    let sandbox = Sandbox::bare().unwrap();
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = connect(&sandbox.socket());
        stream.write_all(bytes).unwrap();
        drop(stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
    }
    assert_eq!(request(&sandbox.socket(), "GET", "/_ping", b"").text(), "OK");
}

#[test]
fn every_reply_tells_who_answers() {
    let sandbox = Sandbox::bare().unwrap();
    for (method, path) in [("GET", "/_ping"), ("GET", "/nothing"), ("OPTIONS", "*")] {
        let answer = request(&sandbox.socket(), method, path, b"");
        for header in
            ["Server: Wadah/", "Api-Version: 1.55", "Ostype: linux", "Docker-Experimental: false"]
        {
            assert!(answer.head.contains(header), "{method} {path}: {}", answer.head);
        }
    }
    let ping = request(&sandbox.socket(), "HEAD", "/_ping", b"");
    assert!(ping.head.contains("Builder-Version: 1"), "{}", ping.head);
    assert!(ping.head.contains("Content-Length: 0"), "{}", ping.head);
}

#[test]
fn what_is_not_served_says_so_by_name() {
    let sandbox = Sandbox::bare().unwrap();
    let answer = request(&sandbox.socket(), "POST", "/swarm/init", b"{}");
    assert_eq!(answer.status, 501);
    assert!(answer.text().contains("POST /swarm/init"), "{}", answer.text());
    let answer = request(&sandbox.socket(), "GET", "/swarms", b"");
    assert_eq!((answer.status, answer.text().trim()), (404, "{\"message\":\"page not found\"}"));
}

#[test]
fn attach_takes_the_connection_over_with_and_without_an_upgrade() {
    let sandbox = sandbox();
    for (headers, status, media_type) in [
        ("Connection: Upgrade\r\nUpgrade: tcp\r\n", "101 UPGRADED", "multiplexed-stream"),
        ("", "200 OK", "raw-stream"),
    ] {
        let create = ["create", "-i", "busybox", "sh", "-c", "cat; echo done >&2"];
        let id = sandbox.docker(create).ok();
        let mut stream = connect(&sandbox.socket());
        let head = format!(
            "POST /containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\n\
             Host: d\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        // The process's input comes right behind the head, before any answer.
        stream.write_all(format!("{head}early\n").as_bytes()).unwrap();
        let answer = read_head(&mut stream);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(answer.contains(media_type), "{answer}");
        sandbox.docker(["start", &id]).ok();
        stream.write_all(b"late\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut output = Vec::new();
        stream.read_to_end(&mut output).unwrap();
        let text = frames(&output);
        assert_eq!(text, [(1, "early\nlate\n".to_owned()), (2, "done\n".to_owned())]);
        sandbox.docker(["rm", "-f", &id]).ok();
    }
}

/// Takes frames apart, and joins neighbours of one stream.
fn frames(mut bytes: &[u8]) -> Vec<(u8, String)> {
    let mut found: Vec<(u8, String)> = Vec::new();
    while let [stream, 0, 0, 0, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        match found.last_mut() {
            Some((last, all)) if last == stream => all.push_str(&text),
            _ => found.push((*stream, text)),
        }
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "not a frame: {bytes:?}");
    found
}

#[test]
fn wait_sends_its_headers_before_the_container_ends() {
    let sandbox = sandbox();
    let id = sandbox.docker(["run", "-d", "busybox", "sleep", "1000"]).ok();
    let mut stream = connect(&sandbox.socket());
    let head =
        format!("POST /containers/{id}/wait HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 200"));
    sandbox.docker(["kill", &id]).ok();
    let mut body = String::new();
    stream.read_to_string(&mut body).unwrap();
    assert!(body.contains("{\"StatusCode\":137}"), "{body}");
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let sandbox = sandbox();
    let id = sandbox.docker(["run", "-d", "busybox", "sleep", "1000"]).ok();
    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", sandbox.daemon_pid())).unwrap().count();
    let before = descriptors();
    for _ in 0..20 {
        for request in [
            format!("POST /containers/{id}/attach?stream=1&stdin=1&stdout=1"),
            format!("POST /containers/{id}/wait"),
            format!("GET /containers/{id}/logs?stdout=1&follow=1"),
            "GET /events".to_owned(),
        ] {
            let mut stream = connect(&sandbox.socket());
            stream.write_all(format!("{request} HTTP/1.1\r\nHost: d\r\n\r\n").as_bytes()).unwrap();
            read_head(&mut stream);
        }
    }
    wadah_testkit::wait_until("the descriptors come back", || descriptors() <= before + 2);
}

#[test]
fn an_oversized_head_is_refused() {
    let sandbox = Sandbox::bare().unwrap();
    let head = format!("GET /_ping HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(2 << 20));
    let answer = exchange(&sandbox.socket(), head.as_bytes());
    assert!(answer.status == 0 || (400..500).contains(&answer.status), "{}", answer.head);
    assert_eq!(request(&sandbox.socket(), "GET", "/_ping", b"").text(), "OK");
}
