//! The table's layout: its sets, chains and rules, the same on every host.
//!
//! What each rule is for stands beside it as the comment that `nft list table ip wadah` shows.
//! A digest of the layout is part of the table's own comment, so that a daemon of another release
//! writes it anew.

use wadah_sys::nfnetlink::{
    Batch, Chain, ChainKind, ConntrackKey, DataType, Expression as E, Family, FibAddress, Hook,
    MetaKey, PayloadBase, Register, Rule, Set, Table, Verdict, state, status, user_data,
};

use super::elements::element;

/// The table's name, in both families.
pub(super) const TABLE: &str = "wadah";
/// How the table's comment begins; the layout's digest follows.
pub(super) const COMMENT: &str = "written by the wadah daemon; layout ";

/// The names of the sets and maps.
pub(super) mod set {
    /// Every bridge.
    pub(crate) const BRIDGES: &str = "bridges";
    /// Pairs of bridges between which all may pass: each with itself, unless containers on it are
    /// to be kept apart.
    pub(crate) const WITHIN: &str = "within";
    /// Bridges cut off from the outside.
    pub(crate) const INTERNAL: &str = "internal";
    /// Every network with its bridge.
    pub(crate) const SUBNETS: &str = "subnets";
    /// Networks that go out under the host's address.
    pub(crate) const MASQUERADE: &str = "masqueraded";
    /// Families that the host forwards only because of us.
    pub(crate) const CLOSED: &str = "closed";
    /// Ports published on all addresses.
    pub(crate) const PORTS: &str = "ports";
    /// Ports published on one address.
    pub(crate) const PORTS_AT: &str = "ports_at";
}

/// The names of the chains.
mod chain {
    pub(super) const GUARD: &str = "guard";
    pub(super) const PREROUTING: &str = "prerouting";
    pub(super) const OUTPUT: &str = "output";
    pub(super) const FORWARD: &str = "forward";
    pub(super) const POSTROUTING: &str = "postrouting";
}

const R0: Register = Register::FIRST;

/// One change of a batch: in words, and what the kernel needs for it.
#[derive(Debug)]
pub(super) struct Step {
    pub doing: String,
    pub options: Vec<&'static str>,
}

/// Writes the table anew, in place of whatever is there. Returns a step for each change.
pub(super) fn write(batch: &mut Batch, family: Family) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |doing: String, options: Vec<&'static str>| steps.push(Step { doing, options });
    // Added first so that deleting succeeds when there is none.
    let tables = ["make a firewall table", "replace the firewall table", "make a firewall table"];
    tables.iter().for_each(|it| step((*it).to_owned(), vec![nf_tables(family)]));
    batch.add_table(&comment(family));
    batch.delete_table();
    batch.add_table(&comment(family));
    for set in sets(family) {
        batch.add_set(&set);
        step(format!("make the firewall set {}", set.name), vec![nf_tables(family)]);
    }
    for chain in chains() {
        batch.add_chain(&chain);
        step(format!("make the firewall chain {}", chain.name), chain_options(&chain, family));
    }
    for rule in rules(family) {
        batch.add_rule(&rule);
        let doing = format!("write a rule of the firewall chain {}", rule.chain);
        step(doing, rule_options(&rule, family));
    }
    steps
}

/// Whether the table is what [`write`] writes, its elements aside.
pub(super) fn matches(table: &Table, family: Family) -> bool {
    let rules: Vec<(&str, Vec<u8>)> =
        rules(family).iter().map(|it| (it.chain, user_data(it.comment))).collect();
    let listed: Vec<(&str, Vec<u8>)> =
        table.rules.iter().map(|it| (it.chain.as_str(), it.user_data.clone())).collect();
    let chains = chains().iter().all(|chain| {
        table.chains.iter().any(|it| it.name == chain.name && it.kind == chain.kind.name())
    });
    let sets = sets(family).iter().all(|set| table.sets.iter().any(|it| it.is(set)));
    table.user_data == Some(user_data(&comment(family)))
        && table.flags == 0
        && rules == listed
        && (chains, table.chains.len()) == (true, self::chains().len())
        && (sets, table.sets.len()) == (true, self::sets(family).len())
}

/// The sets and maps.
pub(super) fn sets(family: Family) -> Vec<Set> {
    use DataType::{Family as Proto, Interface, Ipv4, Ipv6, Port, Protocol};
    type Types = &'static [DataType];
    let (address, address_port): (Types, Types) = match family {
        Family::Ipv4 => (&[Ipv4], &[Ipv4, Port]),
        Family::Ipv6 => (&[Ipv6], &[Ipv6, Port]),
    };
    let (address_interface, address_protocol_port): (Types, Types) = match family {
        Family::Ipv4 => (&[Ipv4, Interface], &[Ipv4, Protocol, Port]),
        Family::Ipv6 => (&[Ipv6, Interface], &[Ipv6, Protocol, Port]),
    };
    let set = |name, key, comment| Set { name, key, data: &[], interval: false, comment };
    let subnets = set(set::SUBNETS, address_interface, "every network with its bridge");
    let masquerade = set(set::MASQUERADE, address, "networks that go out under the host's address");
    let ports = set(set::PORTS, &[Protocol, Port], "ports published on all addresses");
    let ports_at = set(set::PORTS_AT, address_protocol_port, "ports published on one address");
    vec![
        set(set::BRIDGES, &[Interface], "every bridge"),
        set(set::WITHIN, &[Interface, Interface], "bridges on which containers reach each other"),
        set(set::INTERNAL, &[Interface], "bridges cut off from the outside"),
        Set { interval: true, ..subnets },
        Set { interval: true, ..masquerade },
        set(set::CLOSED, &[Proto], "families forwarded for containers only"),
        Set { data: address_port, ..ports },
        Set { data: address_port, ..ports_at },
    ]
}

/// The chains. `nft` calls the usual priorities raw (-300), dstnat (-100), filter (0) and srcnat
/// (100); ours stand ten behind them, but for the guard, which must come before the rest.
fn chains() -> [Chain; 5] {
    let chain = |name, kind, hook, priority| Chain { name, kind, hook, priority };
    [
        chain(chain::GUARD, ChainKind::Filter, Hook::Prerouting, -300),
        chain(chain::PREROUTING, ChainKind::Nat, Hook::Prerouting, -90),
        chain(chain::OUTPUT, ChainKind::Nat, Hook::Output, -90),
        chain(chain::FORWARD, ChainKind::Filter, Hook::Forward, 10),
        chain(chain::POSTROUTING, ChainKind::Nat, Hook::Postrouting, 110),
    ]
}

/// The rules, chain by chain, in order.
fn rules(family: Family) -> Vec<Rule> {
    [guard(family), nat(chain::PREROUTING, family), nat(chain::OUTPUT, family), forward()]
        .into_iter()
        .chain([postrouting(family)])
        .flatten()
        .collect()
}

/// Loopback addresses never come from outside. Our bridges accept them (`route_localnet`, so that
/// published ports work at 127.0.0.1), and the host may have others that do.
fn guard(family: Family) -> Vec<Rule> {
    let rule = |comment, part| {
        let lo = element::interface("lo");
        let mut expressions = vec![E::Meta(MetaKey::InputName, R0), E::NotEqual(R0, lo)];
        expressions.extend(is_loopback(family, part));
        expressions.push(E::Verdict(Verdict::Drop));
        Rule { chain: chain::GUARD, comment, expressions }
    };
    vec![
        rule("nobody outside reaches a loopback address", Part::Destination),
        rule("nobody outside has a loopback address", Part::Source),
    ]
}

/// Published ports: to the container's address and port.
fn nat(chain: &'static str, family: Family) -> Vec<Rule> {
    let width = family.width();
    let protocol = |register| E::Meta(MetaKey::Transport, register);
    let port = |register| E::Payload(PayloadBase::Transport, 2, 2, register);
    let dnat = E::DestinationNat(family, R0, R0.after(width));
    let all = vec![
        E::Destination(FibAddress::Local, R0),
        protocol(R0),
        port(R0.after(4)),
        E::Map(R0, set::PORTS, R0),
        dnat.clone(),
    ];
    let one = vec![
        Part::Destination.load(family, R0),
        protocol(R0.after(width)),
        port(R0.after(width + 4)),
        E::Map(R0, set::PORTS_AT, R0),
        dnat,
    ];
    vec![
        Rule { chain, comment: "ports published on one address", expressions: one },
        Rule { chain, comment: "ports published on all addresses", expressions: all },
    ]
}

/// What passes through the host.
fn forward() -> Vec<Rule> {
    let input = || E::Meta(MetaKey::InputName, R0);
    let output = || E::Meta(MetaKey::OutputName, R0);
    let verdict = E::Verdict;
    let established = state::ESTABLISHED | state::RELATED;
    let pair = E::Meta(MetaKey::OutputName, R0.after(16));
    let rules: Vec<(&'static str, Vec<E>)> = vec![
        ("what belongs to a connection that was let through", {
            let mut rule = has_bit(ConntrackKey::State, established);
            rule.push(verdict(Verdict::Accept));
            rule
        }),
        ("containers of one bridge reach each other", {
            vec![input(), pair, E::In(R0, set::WITHIN), verdict(Verdict::Accept)]
        }),
        ("internal networks stay inside", {
            vec![input(), E::In(R0, set::INTERNAL), verdict(Verdict::Drop)]
        }),
        ("internal networks are not reached from outside", {
            vec![output(), E::In(R0, set::INTERNAL), verdict(Verdict::Drop)]
        }),
        ("published ports, whoever translated them", {
            let mut rule = vec![output(), E::In(R0, set::BRIDGES)];
            rule.extend(has_bit(ConntrackKey::Status, status::DESTINATION_TRANSLATED));
            rule.push(verdict(Verdict::Accept));
            rule
        }),
        ("nothing else reaches a container from outside its bridge", {
            vec![output(), E::In(R0, set::BRIDGES), verdict(Verdict::Drop)]
        }),
        ("containers reach the outside", {
            vec![input(), E::In(R0, set::BRIDGES), verdict(Verdict::Accept)]
        }),
        ("the host was no router before it had containers", {
            let family = E::Meta(MetaKey::Family, R0);
            vec![family, E::In(R0, set::CLOSED), verdict(Verdict::Drop)]
        }),
    ];
    let rule = |(comment, expressions)| Rule { chain: chain::FORWARD, comment, expressions };
    rules.into_iter().map(rule).collect()
}

/// Under which address packets leave.
fn postrouting(family: Family) -> Vec<Rule> {
    let output = |register| E::Meta(MetaKey::OutputName, register);
    let mut loopback = is_loopback(family, Part::Source);
    loopback.extend([output(R0), E::In(R0, set::BRIDGES), E::Masquerade]);
    let mut hairpin = has_bit(ConntrackKey::Status, status::DESTINATION_TRANSLATED);
    let (source, bridge) = (Part::Source.load(family, R0), output(R0.after(family.width())));
    hairpin.extend([source.clone(), bridge, E::In(R0, set::SUBNETS), E::Masquerade]);
    let outside = vec![
        source,
        E::In(R0, set::MASQUERADE),
        output(R0),
        E::NotIn(R0, set::BRIDGES),
        E::Masquerade,
    ];
    let rules = [
        ("published ports at the host's loopback addresses", loopback),
        ("published ports reached from their own bridge", hairpin),
        ("containers reach the outside under the host's address", outside),
    ];
    let rule = |(comment, expressions)| Rule { chain: chain::POSTROUTING, comment, expressions };
    rules.into_iter().map(rule).collect()
}

/// An address of the IP header.
#[derive(Clone, Copy)]
enum Part {
    Source,
    Destination,
}

impl Part {
    fn offset(self, family: Family) -> u32 {
        match (family, self) {
            (Family::Ipv4, Self::Source) => 12,
            (Family::Ipv4, Self::Destination) => 16,
            (Family::Ipv6, Self::Source) => 8,
            (Family::Ipv6, Self::Destination) => 24,
        }
    }

    fn load(self, family: Family, register: Register) -> E {
        let (offset, width) = (self.offset(family), family.width());
        E::Payload(PayloadBase::Network, offset, width.into(), register)
    }
}

trait Width {
    fn width(self) -> u8;
}

impl Width for Family {
    /// The length of an address in bytes.
    fn width(self) -> u8 {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
        }
    }
}

/// 127.0.0.0/8 by its first byte, or ::1.
fn is_loopback(family: Family, part: Part) -> Vec<E> {
    match family {
        Family::Ipv4 => {
            let offset = part.offset(family);
            vec![E::Payload(PayloadBase::Network, offset, 1, R0), E::Equal(R0, vec![127])]
        }
        Family::Ipv6 => {
            let address = std::net::Ipv6Addr::LOCALHOST.octets().to_vec();
            vec![part.load(family, R0), E::Equal(R0, address)]
        }
    }
}

/// Goes on if any of the bits is set.
fn has_bit(key: ConntrackKey, bits: u32) -> Vec<E> {
    let mask = bits.to_ne_bytes().to_vec();
    vec![E::Conntrack(key, R0), E::Mask(R0, mask), E::NotEqual(R0, vec![0; 4])]
}

fn comment(family: Family) -> String {
    let text = format!("{:?}{:?}{:?}", sets(family), chains(), rules(family));
    // FNV-1a: a change is to be noticed, nobody is to be kept from forging it.
    let digest = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{COMMENT}{digest:016x}")
}

fn nf_tables(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "CONFIG_NF_TABLES_IPV4",
        Family::Ipv6 => "CONFIG_NF_TABLES_IPV6",
    }
}

fn chain_options(chain: &Chain, family: Family) -> Vec<&'static str> {
    match chain.kind {
        ChainKind::Filter => vec![nf_tables(family)],
        ChainKind::Nat => vec!["CONFIG_NF_NAT", "CONFIG_NFT_NAT"],
    }
}

/// The options behind a rule's expressions; those of nf_tables' core are not counted.
fn rule_options(rule: &Rule, family: Family) -> Vec<&'static str> {
    let option = |expression: &E| match expression.name() {
        "ct" => Some("CONFIG_NFT_CT"),
        "fib" if family == Family::Ipv4 => Some("CONFIG_NFT_FIB_IPV4"),
        "fib" => Some("CONFIG_NFT_FIB_IPV6"),
        "nat" => Some("CONFIG_NFT_NAT"),
        "masq" => Some("CONFIG_NFT_MASQ"),
        _ => None,
    };
    let mut options: Vec<&str> = rule.expressions.iter().filter_map(option).collect();
    options.dedup();
    if options.is_empty() { vec![nf_tables(family)] } else { options }
}
