//! Clients on the streams of a container: input, output, terminals, and those who do not read.

use wadah_shim::protocol::{Call, Event, Kind};
use wadah_testkit::wait_until;

use crate::harness::{Output, recipe, script};

#[test]
fn an_attached_client_sees_both_streams_from_the_first_byte() {
    let (mut container, mut client) = script("echo out; echo err >&2").start_attached();
    let output = client.read_output();
    assert_eq!((output.text(), &output.stderr[..], output.lost), ("out\n", &b"err\n"[..], 0));
    assert_eq!(container.wait().code, 0);
    assert!(matches!(client.event(), Event::Exited(exit) if exit.code == 0));
    assert_eq!(client.frame(), None);
}

#[test]
fn every_client_gets_its_own_copy() {
    let mut container = script("seq 1 10000").create();
    let mut clients: Vec<_> = (0..5).map(|_| container.connect()).collect();
    clients.iter_mut().for_each(|client| client.attach(None));
    container.client.call(Call::Start).unwrap();
    let expected: String = (1..=10_000).map(|n| format!("{n}\n")).collect();
    for client in &mut clients {
        assert!(client.read_output().text() == expected);
    }
}

#[test]
fn the_end_of_input_is_an_end_of_file_while_output_still_flows() {
    let once = |launch: &mut wadah_shim::protocol::Launch| {
        (launch.stdin, launch.stdin_once) = (true, true);
    };
    let (mut container, mut client) = script("cat; echo after; cat").with(once).start_attached();
    client.send(Kind::Stdin, b"hello\n");
    client.send(Kind::StdinEof, b"");
    assert_eq!(client.read_output().text(), "hello\nafter\n");
    assert_eq!(container.wait().code, 0);
}

#[test]
fn a_client_that_leaves_after_writing_has_written() {
    let once = |launch: &mut wadah_shim::protocol::Launch| {
        (launch.stdin, launch.stdin_once) = (true, true);
    };
    let (mut container, mut client) = recipe(&["wc", "-c"]).with(once).start_attached();
    let chunk = vec![b'x'; 50_000];
    for _ in 0..20 {
        client.send(Kind::Stdin, &chunk);
    }
    client.send(Kind::StdinEof, b"");
    drop(client);
    assert_eq!(container.wait().code, 0);
    assert_eq!(container.logged().trim(), "1000000");
}

#[test]
fn input_stays_open_between_clients_unless_it_is_for_once() {
    let open = |launch: &mut wadah_shim::protocol::Launch| launch.stdin = true;
    let (mut container, mut first) =
        script("read a; read b; echo $a $b").with(open).start_attached();
    first.send(Kind::Stdin, b"one\n");
    first.send(Kind::StdinEof, b"");
    drop(first);
    let mut second = container.connect();
    second.attach(None);
    second.send(Kind::Stdin, b"two\n");
    assert_eq!(second.read_output().text(), "one two\n");
    assert_eq!(container.wait().code, 0);
}

#[test]
fn input_that_is_not_read_does_not_stop_the_shim() {
    let open = |launch: &mut wadah_shim::protocol::Launch| launch.stdin = true;
    let (mut container, mut client) = recipe(&["sleep", "1000"]).with(open).start_attached();
    let writer = std::thread::spawn(move || {
        let chunk = vec![b'x'; 60_000];
        for _ in 0..100 {
            let mut frame = Vec::new();
            wadah_shim::protocol::encode(Kind::Stdin, &chunk, &mut frame);
            client.send_raw(&frame);
        }
    });
    for _ in 0..100 {
        container.client.state();
    }
    container.client.call(Call::Signal { exec: None, signal: 9, all: false }).unwrap();
    assert_eq!(container.wait().code, 137);
    writer.join().unwrap();
}

#[test]
fn a_client_that_never_reads_loses_its_own_bytes_only() {
    let (mut container, mut client) = script("seq 1 2000000; echo end >&2").start_attached();
    assert_eq!(container.wait().code, 0);
    let expected: String = (1..=2_000_000).map(|n| format!("{n}\n")).collect();
    assert!(container.logged() == expected.clone() + "end\n");
    let output = client.read_output();
    assert!(output.lost > 0);
    let all = output.stdout.len() + output.stderr.len();
    assert_eq!(all as u64 + output.lost, expected.len() as u64 + 4);
    assert!(expected.as_bytes().starts_with(&output.stdout[..100_000]));
}

#[test]
fn a_client_that_reads_slowly_loses_nothing() {
    let (mut container, mut client) = recipe(&["seq", "1", "1000000"]).start_attached();
    let mut output = Output::default();
    while client.read_some(&mut output) {
        // Slower than the container, faster than patience ends.
        for _ in 0..10 {
            container.client.state();
        }
    }
    assert_eq!(output.lost, 0);
    let expected: String = (1..=1_000_000).map(|n| format!("{n}\n")).collect();
    assert!(output.text() == expected);
    assert_eq!(container.wait().code, 0);
}

#[test]
fn a_client_that_reads_a_little_at_a_time_loses_nothing() {
    let (mut container, client) = recipe(&["seq", "1", "150000"]).start_attached();
    // A reader that is never fast enough for the kernel to call its socket writable.
    let mut bytes = Vec::new();
    let mut client = client.into_socket();
    loop {
        let mut piece = [0; 40_000];
        match std::io::Read::read(&mut client, &mut piece).unwrap() {
            0 => break,
            length => bytes.extend_from_slice(&piece[..length]),
        }
        std::thread::park_timeout(std::time::Duration::from_millis(150));
    }
    let mut decoder = wadah_shim::protocol::Decoder::new();
    decoder.push(&bytes);
    let mut text = Vec::new();
    while let Some(frame) = decoder.next_frame().unwrap() {
        assert_ne!(frame.kind, Kind::Lost);
        if frame.kind == Kind::Stdout {
            text.extend_from_slice(frame.payload);
        }
    }
    let expected: String = (1..=150_000).map(|n| format!("{n}\n")).collect();
    assert!(text == expected.as_bytes());
    assert_eq!(container.wait().code, 0);
}

#[test]
fn a_terminal_echoes_and_has_the_size_it_is_given() {
    let terminal = |launch: &mut wadah_shim::protocol::Launch| {
        (launch.stdin, launch.terminal, launch.terminal_size) = (true, true, Some((30, 100)));
    };
    let (mut container, mut client) =
        script("stty size; read line; stty size; echo got $line").with(terminal).start_attached();
    let mut output = Output::default();
    client.read_until(&mut output, "30 100\r\n");
    container.client.call(Call::Resize { exec: None, rows: 40, columns: 120 }).unwrap();
    client.send(Kind::Stdin, b"hello\n");
    let rest = client.read_output();
    assert_eq!(rest.text(), "hello\r\n40 120\r\ngot hello\r\n");
    assert_eq!(container.wait().code, 0);
    assert!(container.logged().ends_with("got hello\r\n"));
}

#[test]
fn control_c_on_a_terminal_interrupts() {
    let terminal = |launch: &mut wadah_shim::protocol::Launch| {
        (launch.stdin, launch.terminal) = (true, true);
    };
    let (mut container, mut client) =
        script("trap 'echo bye; exit 5' INT; echo up; while :; do sleep 0.01; done")
            .with(terminal)
            .start_attached();
    client.read_until(&mut Output::default(), "up");
    client.send(Kind::Stdin, b"\x03");
    assert_eq!(container.wait().code, 5);
}

#[test]
fn a_process_that_closes_its_streams_runs_on() {
    let mut container = script("exec >&- 2>&-; while :; do sleep 0.01; done").start();
    let pid = container.client.state().pid;
    wait_until("its streams are closed", || {
        !std::path::Path::new(&format!("/proc/{pid}/fd/1")).exists()
    });
    assert!(container.client.state().exit.is_none());
    container.client.call(Call::Signal { exec: None, signal: 9, all: false }).unwrap();
    assert_eq!(container.wait().code, 137);
}

#[test]
fn nothing_is_attached_to_a_container_that_has_ended() {
    let mut container = recipe(&["true"]).start();
    container.wait();
    let attach = Call::Attach { exec: None, stdin: false, stdout: true, stderr: true };
    container.client.call(attach).unwrap_err();
}

#[test]
fn a_terminal_that_nobody_has_open_for_a_while_still_works() {
    let terminal = |launch: &mut wadah_shim::protocol::Launch| {
        (launch.stdin, launch.terminal) = (true, true);
    };
    let text = "t=$(tty); echo $t; exec <&- >&- 2>&-; while [ ! -e /go ]; do sleep 0.01; done; \
                echo back > $t; read x < $t; echo $x > $t; exit 2";
    let (mut container, mut client) = script(text).with(terminal).start_attached();
    let mut output = Output::default();
    client.read_until(&mut output, "\r\n");
    let pid = container.client.state().pid;
    wait_until("the terminal is closed", || {
        !std::path::Path::new(&format!("/proc/{pid}/fd/1")).exists()
    });
    let busy = || {
        let shim = container.shim.process.pid().as_raw_nonzero();
        let stat = std::fs::read_to_string(format!("/proc/{shim}/stat")).unwrap();
        stat.split(' ').skip(13).take(2).map(|it| it.parse::<u64>().unwrap()).sum::<u64>()
    };
    let before = busy();
    wait_until("the container's shell has slept for a second", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/sched")).unwrap_or_default();
        let switches = stat.lines().find_map(|it| it.strip_prefix("nr_voluntary_switches"));
        switches.is_some_and(|it| it.trim_matches([' ', ':']).parse::<u64>().unwrap() > 100)
    });
    assert!(busy() - before < 50, "the shim must not spin");
    std::fs::write(container.file("go"), "").unwrap();
    client.read_until(&mut output, "back\r\n");
    client.send(Kind::Stdin, b"hello\n");
    client.read_until(&mut output, "hello\r\n");
    assert_eq!(container.wait().code, 2);
}
