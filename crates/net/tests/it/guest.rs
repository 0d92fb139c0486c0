//! The same tests on an older kernel, Debian's, in an emulated guest.
//!
//! It answers some things otherwise than newer ones: it does not catch up with a carrier when asked
//! about a link, does not forget flows by filter, and says `EBUSY` where others say `EEXIST`.

use std::path::Path;

use wadah_testkit::{Guest, skip};

/// What networks need and this kernel has as modules, in order of loading.
const MODULES: [&str; 21] = [
    "lib/libcrc32c",
    "net/netfilter/nfnetlink",
    "net/ipv4/netfilter/nf_defrag_ipv4",
    "net/ipv6/netfilter/nf_defrag_ipv6",
    "net/netfilter/nf_conntrack",
    "net/netfilter/nf_conntrack_netlink",
    "net/netfilter/nf_nat",
    "net/netfilter/nf_tables",
    "net/netfilter/nft_ct",
    "net/netfilter/nft_chain_nat",
    "net/netfilter/nft_nat",
    "net/netfilter/nft_masq",
    "net/netfilter/nft_fib",
    "net/ipv4/netfilter/nft_fib_ipv4",
    "net/ipv6/netfilter/nft_fib_ipv6",
    "net/netfilter/nft_fib_inet",
    "net/llc/llc",
    "net/802/stp",
    "net/bridge/bridge",
    "net/bridge/br_netfilter",
    "drivers/net/veth",
];

#[test]
#[ignore = "boots an emulated machine and takes minutes"]
fn an_older_kernel_does_the_same() {
    let guest = match prepare() {
        Ok(guest) => guest,
        Err(error) => return skip(&format!("no guest: {error:#}")),
    };
    let tests = "attach:: firewall:: isolation:: published:: recovery::";
    // The document stayed on the host.
    let line = format!("uname -r; cd /; /it --test-threads 2 --skip as_documented {tests}");
    let output = guest.run(&line).unwrap();
    println!("{}", output.text);
    assert_eq!(output.code, 0);
}

fn prepare() -> anyhow::Result<Guest> {
    let guest = MODULES.iter().fold(Guest::new()?, |guest, it| guest.with_module(it));
    guest
        .with_file(Path::new("/etc/protocols"))
        .with_program(&std::env::current_exe()?, Path::new("/it"))?
        .with_program(Path::new("/usr/sbin/nft"), Path::new("/usr/sbin/nft"))
}
