//! The host's own sockets: is a port free, and if not, which program has it?
//!
//! Reads the calling thread's network namespace. Finding the program walks `/proc`, and happens
//! only to word an error.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::Path,
};

use rustix::{
    io::Errno,
    net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt},
};

use crate::{PortError, Protocol, registry::shown};

const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

/// The range from which the kernel gives out ports, Docker's ephemeral range too.
pub(crate) fn local_port_range() -> RangeInclusive<u16> {
    let read = || {
        let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let mut ends = text.split_whitespace().map(str::parse);
        Some(ends.next()?.ok()?..=ends.next()?.ok()?)
    };
    read().unwrap_or(EPHEMERAL)
}

/// Binds the port for a moment, and listens on it where that means something.
pub(crate) fn probe(
    protocol: Protocol,
    address: Option<IpAddr>,
    port: u16,
) -> Result<(), PortError> {
    let address = shown(address);
    match bind(protocol, SocketAddr::new(address, port)) {
        Ok(()) => Ok(()),
        // No SCTP in this kernel's sockets: no program of the host can have the port.
        Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) if protocol == Protocol::Sctp => Ok(()),
        Err(Errno::ADDRINUSE) => {
            let program = program_on(protocol, port);
            Err(PortError::Listening { address, port, protocol, program })
        }
        Err(errno) => Err(PortError::Bind { address, port, protocol, source: errno.into() }),
    }
}

fn bind(protocol: Protocol, address: SocketAddr) -> Result<(), Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol != Protocol::Udp {
        // Connections of an earlier listener in TIME_WAIT are no conflict; a listener still is.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    if protocol != Protocol::Udp {
        net::listen(&socket, 1)?;
    }
    Ok(())
}

/// Names the program that has the port, as far as it can be found out.
fn program_on(protocol: Protocol, port: u16) -> String {
    let inode = inode_on(protocol, port);
    let program = inode.and_then(|inode| program_of(inode).ok().flatten());
    program.unwrap_or_else(|| "a program on the host".to_owned())
}

/// The inode of the socket bound to the port, from the kernel's tables: columns "local address"
/// and "inode" (man 5 proc, `/proc/net/tcp`).
fn inode_on(protocol: Protocol, port: u16) -> Option<u64> {
    let suffix = format!(":{port:04X}");
    let tables = [format!("{protocol}"), format!("{protocol}6")];
    tables.iter().find_map(|table| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok()?;
        text.lines().skip(1).find_map(|line| {
            let mut fields = line.split_whitespace();
            fields.nth(1).filter(|it| it.ends_with(&suffix))?;
            // A socket in TIME_WAIT has no inode.
            fields.nth(7)?.parse().ok().filter(|inode| *inode != 0)
        })
    })
}

fn program_of(inode: u64) -> io::Result<Option<String>> {
    let link = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc")? {
        let path = process?.path();
        let Some(pid) = path.file_name().and_then(|it| it.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        if has_descriptor(&path, &link) {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            return Ok(Some(format!("{} (pid {pid})", name.trim_end())));
        }
    }
    Ok(None)
}

/// Whether the process has the descriptor open. Processes come and go while we look: one that
/// cannot be read has not got it.
fn has_descriptor(process: &Path, link: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|it| fs::read_link(it.path()).is_ok_and(|it| it.as_os_str() == link))
}
