//! The world of a test: a host, its containers, its neighbour.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    process::Command,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use wadah_net::{
    Bridge, Cidr, DEFAULT_BRIDGE, Endpoint, Host, Namespace, Protocol, Publication, veth_name,
};
use wadah_sys::{
    netlink::namespace,
    rtnetlink::{Change, RouteSocket, Veth},
};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a test waits for what must not happen.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// The host's address towards its neighbour, and the neighbour's.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub(crate) const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

/// Runs `test` on a thread in a host of its own.
pub(crate) fn in_a_host<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let host = Namespace::make().unwrap();
    inside(host.fd(), test)
}

/// Runs `visit` on a thread inside of a namespace.
pub(crate) fn inside<T: Send>(namespace: BorrowedFd<'_>, visit: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            namespace::enter(namespace).unwrap();
            visit()
        });
        visitor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The default bridge.
pub(crate) fn default_bridge() -> Bridge {
    Bridge {
        name: DEFAULT_BRIDGE.to_owned(),
        gateways: vec![cidr("172.17.0.1/16")],
        mtu: None,
        masquerade: true,
        icc: true,
        internal: false,
    }
}

/// A second bridge.
pub(crate) fn second_bridge() -> Bridge {
    let gateways = vec![cidr("172.18.0.1/16")];
    Bridge { name: "wadah1".to_owned(), gateways, ..default_bridge() }
}

pub(crate) fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

/// A container: a namespace plugged into a bridge.
#[derive(Debug)]
pub(crate) struct Container {
    pub namespace: Namespace,
    pub address: IpAddr,
    pub host_name: String,
}

impl Container {
    /// Plugs one in at the `number`th address of the bridge's network.
    pub(crate) fn start(host: &Host, bridge: &Bridge, number: u128) -> Self {
        let namespace = Namespace::make().unwrap();
        Self::plug_in(host, bridge, namespace, bridge.gateways[0].nth(number).unwrap())
    }

    pub(crate) fn plug_in(
        host: &Host,
        bridge: &Bridge,
        namespace: Namespace,
        address: IpAddr,
    ) -> Self {
        let gateway = bridge.gateways[0];
        let endpoint = Endpoint {
            host_name: veth_name().unwrap(),
            bridge: bridge.name.clone(),
            name: "eth0".to_owned(),
            addresses: vec![Cidr::new(address, gateway.prefix()).unwrap()],
            gateways: if bridge.internal { vec![] } else { vec![gateway.address()] },
            mac: None,
            mtu: None,
            icc: bridge.icc,
        };
        host.attach(&namespace, &endpoint).unwrap();
        Self { namespace, address, host_name: endpoint.host_name }
    }

    pub(crate) fn tcp(&self, host_port: u16, container_port: u16) -> Publication {
        Publication {
            protocol: Protocol::Tcp,
            host_address: None,
            host_port,
            container_address: self.address,
            container_port,
        }
    }

    pub(crate) fn udp(&self, host_port: u16, container_port: u16) -> Publication {
        Publication { protocol: Protocol::Udp, ..self.tcp(host_port, container_port) }
    }

    /// Answers TCP connections to `port` with the address they come from, until dropped.
    pub(crate) fn serve_tcp(&self, port: u16) -> Server {
        serve_tcp(self.namespace.fd(), port)
    }

    /// Answers UDP packets to `port` with what they say and where they come from, until dropped.
    pub(crate) fn serve_udp(&self, port: u16) -> Server {
        let socket = inside(self.namespace.fd(), || UdpSocket::bind(("0.0.0.0", port)).unwrap());
        let (stop, stopped) = mpsc::channel::<()>();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 64];
            while stopped.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                    let token = std::str::from_utf8(&buffer[..length]).unwrap();
                    socket.send_to(format!("{token} {}", peer.ip()).as_bytes(), peer).unwrap();
                }
            }
        });
        Server { stop: Some(stop), thread: Some(thread) }
    }
}

/// Answers TCP connections inside a namespace with the address they come from.
pub(crate) fn serve_tcp(namespace: BorrowedFd<'_>, port: u16) -> Server {
    let listener = inside(namespace, || TcpListener::bind(("0.0.0.0", port)).unwrap());
    let (stop, stopped) = mpsc::channel::<()>();
    listener.set_nonblocking(true).unwrap();
    let thread = thread::spawn(move || {
        while stopped.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            let mut ready = [rustix::event::PollFd::new(&listener, rustix::event::PollFlags::IN)];
            let wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            rustix::event::poll(&mut ready, Some(&wait)).unwrap();
            if let Ok((mut stream, peer)) = listener.accept() {
                // A client that is gone is a client's matter.
                let _gone = stream.write_all(peer.ip().to_string().as_bytes());
            }
        }
    });
    Server { stop: Some(stop), thread: Some(thread) }
}

/// A server on a thread of its own.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Asks the TCP server at `address` from inside a namespace; the address it saw, if it answered.
pub(crate) fn ask_tcp(
    namespace: BorrowedFd<'_>,
    address: impl Into<SocketAddr>,
    patience: Duration,
) -> Option<IpAddr> {
    let address = address.into();
    inside(namespace, || {
        let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.parse().ok()
    })
}

/// Asks the UDP server at `address` from inside a namespace; the address it saw, if it answered.
pub(crate) fn ask_udp(
    namespace: BorrowedFd<'_>,
    address: impl Into<SocketAddr>,
    patience: Duration,
) -> Option<IpAddr> {
    let address = address.into();
    inside(namespace, || {
        let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
        ask_udp_with(&socket, address, patience)
    })
}

pub(crate) fn ask_udp_with(
    socket: &UdpSocket,
    address: SocketAddr,
    patience: Duration,
) -> Option<IpAddr> {
    // On a busy machine, the answer to an earlier question may still be under way.
    static QUESTIONS: AtomicU32 = AtomicU32::new(0);
    let token = QUESTIONS.fetch_add(1, Ordering::Relaxed).to_string();
    let mut buffer = [0; 64];
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.send_to(token.as_bytes(), address).ok()?;
    loop {
        let (length, _) = socket.recv_from(&mut buffer).ok()?;
        let answer = std::str::from_utf8(&buffer[..length]).unwrap();
        if let Some((_, seen)) = answer.split_once(' ').filter(|(it, _)| *it == token) {
            return seen.parse().ok();
        }
    }
}

/// A neighbour of the calling thread's host: another namespace, joined by a veth pair, that sends
/// everything it does not know to the host.
pub(crate) fn neighbour() -> Namespace {
    let neighbour = Namespace::make().unwrap();
    let mut here = RouteSocket::open().unwrap();
    let veth = Veth {
        name: "uplink",
        master: None,
        peer_name: "uplink",
        peer_mac: [2, 0, 0, 0, 0, 2],
        peer_namespace: neighbour.as_fd(),
        mtu: None,
        group: 0,
    };
    here.apply(&[Change::AddVeth(veth)]).unwrap();
    let link = here.link("uplink").unwrap().index;
    here.apply(&[Change::AddAddress { link, address: HOST.into(), prefix: 24 }]).unwrap();
    inside(neighbour.fd(), || {
        let mut there = RouteSocket::open().unwrap();
        let link = there.link("uplink").unwrap().index;
        let changes = [
            Change::AddAddress { link, address: NEIGHBOUR.into(), prefix: 24 },
            Change::SetUp { link },
            Change::AddRoute { destination: None, gateway: HOST.into(), link },
        ];
        there.apply(&changes).unwrap();
    });
    neighbour
}

/// A descriptor of the calling thread's namespace.
pub(crate) fn here() -> std::os::fd::OwnedFd {
    namespace::current().unwrap()
}

/// What `nft` says about the calling thread's namespace.
pub(crate) fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
