//! The firewall as an independent reader sees it.

use wadah_net::Host;

use crate::world::{Container, default_bridge, in_a_host, nft};

#[test]
fn the_ruleset_reads_as_documented() {
    in_a_host(|| {
        let host = Host::open().unwrap();
        host.ensure_firewall().unwrap();
        let bridge = default_bridge();
        host.ensure_bridge(&bridge).unwrap();
        let container = Container::start(&host, &bridge, 2);
        host.publish(&[container.tcp(8080, 80)]).unwrap();
        println!("{}", nft(&["list", "ruleset"]));
    });
}
