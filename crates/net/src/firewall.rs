//! The firewall: one nf_tables table `wadah` per address family.
//!
//! Chains and rules are written once ([`layout`]) and are the same on every host. All that
//! changes, bridges, networks and published ports, are elements of sets and maps ([`Elements`]);
//! any change is one batch that the kernel takes as a whole.
//!
//! **Invariant:** no rule of ours accepts what another table drops. In nf_tables an `accept` ends
//! only its own chain, and a `drop` anywhere is final; ours run at priorities behind the usual
//! ones, so that the host's own rules see a packet first: its translations win, its counters
//! count, its `reject` speaks.
//! **Invariant:** whatever state the table is found in, [`restore`] makes it what it should be in
//! one batch, bound to the generation it was computed from.

mod elements;
mod layout;

use std::collections::BTreeSet;

use rustix::io::Errno;
use wadah_sys::{
    netlink::NetlinkError,
    nfnetlink::{Batch, Element, Family, TableSocket},
};

use crate::NetError;

pub(crate) use elements::{Elements, family_of};
use layout::TABLE;

/// How often a restoration is tried while others change the ruleset.
const ATTEMPTS: u32 = 20;

/// What [`restore`] found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Whether the table was missing or altered and was written anew.
    pub rebuilt: bool,
    /// How many elements were added.
    pub added: usize,
    /// How many elements were removed.
    pub removed: usize,
}

/// What becomes of elements that are there and not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strays {
    /// They stay: they may belong to containers not yet heard of.
    Keep,
    /// They go.
    Remove,
}

/// Makes the family's table hold `wanted`, and no more if strays are removed.
pub(crate) fn restore(
    tables: &mut TableSocket,
    family: Family,
    wanted: &Elements,
    strays: Strays,
) -> Result<Restored, NetError> {
    let mut tried = 0;
    loop {
        tried += 1;
        let plan = plan(tables, family, wanted, strays).map_err(unreadable)?;
        match tables.commit(plan.batch) {
            Ok(()) => return Ok(plan.restored),
            // Somebody else changed the ruleset between our look and our batch.
            Err(error) if is_restart(&error) && tried < ATTEMPTS => {}
            Err(error) => return Err(refused(&plan.steps, error)),
        }
    }
}

/// Deletes the family's table, if it is there.
pub(crate) fn remove(tables: &mut TableSocket, family: Family) -> Result<(), NetError> {
    let mut batch = Batch::new(family, TABLE, None);
    // Adding what may be there makes deleting what may not be there succeed.
    batch.add_table(layout::COMMENT);
    batch.delete_table();
    tables.commit(batch).map_err(NetError::netlink("remove the firewall"))
}

/// Whether all of these elements are there.
pub(crate) fn present(
    tables: &mut TableSocket,
    family: Family,
    asked: &Elements,
) -> Result<bool, NetlinkError> {
    for (set, elements) in asked.iter() {
        if !tables.elements(family, TABLE, set)?.is_superset(elements) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Adds elements, all or none. An error of `ENOENT` says that the table is gone.
pub(crate) fn add(
    tables: &mut TableSocket,
    family: Family,
    wanted: &Elements,
) -> Result<(), NetlinkError> {
    let mut batch = Batch::new(family, TABLE, None);
    wanted.iter().for_each(|(set, elements)| batch.add_elements(set, elements));
    tables.commit(batch)
}

/// Deletes elements; those that are not there are none of its concern.
pub(crate) fn delete(
    tables: &mut TableSocket,
    family: Family,
    unwanted: &Elements,
) -> Result<(), NetlinkError> {
    let mut batch = Batch::new(family, TABLE, None);
    unwanted.iter().for_each(|(set, elements)| batch.delete_elements(set, elements));
    match tables.commit(batch) {
        Err(error) if error.errno() == Some(Errno::NOENT) => {}
        result => return result,
    }
    // One of them is missing, which failed the whole: delete those that are there.
    let mut batch = Batch::new(family, TABLE, None);
    for (set, elements) in unwanted.iter() {
        let present = tables.elements(family, TABLE, set)?;
        batch.delete_elements(set, elements.intersection(&present));
    }
    tables.commit(batch)
}

/// A batch, what it will have done, and a name for each of its first changes.
struct Plan {
    batch: Batch,
    restored: Restored,
    steps: Vec<layout::Step>,
}

/// Computes what is to be done from what is there.
fn plan(
    tables: &mut TableSocket,
    family: Family,
    wanted: &Elements,
    strays: Strays,
) -> Result<Plan, NetlinkError> {
    let generation = tables.generation()?;
    let mut batch = Batch::new(family, TABLE, Some(generation));
    let found = tables.table(family, TABLE)?;
    let (rebuilt, mut restored, mut steps) =
        (!layout::matches(&found, family), Restored::default(), Vec::new());
    if rebuilt {
        steps = layout::write(&mut batch, family);
    }
    for set in layout::sets(family) {
        // A set of the same name in another layout may be of another kind.
        let readable = !rebuilt || found.sets.iter().any(|it| it.is(&set));
        let present =
            if readable { tables.elements(family, TABLE, set.name)? } else { BTreeSet::new() };
        let difference = Difference::new(&present, wanted.of(set.name), strays);
        restored.removed += difference.out.len();
        restored.added += difference.into.len();
        if rebuilt {
            batch.add_elements(set.name, difference.kept.into_iter().chain(difference.into));
        } else {
            batch.delete_elements(set.name, difference.out);
            batch.add_elements(set.name, difference.into);
        }
    }
    restored.rebuilt = rebuilt;
    Ok(Plan { batch, restored, steps })
}

/// What makes one set of another.
struct Difference<'a> {
    kept: Vec<&'a Element>,
    out: Vec<&'a Element>,
    into: Vec<&'a Element>,
}

impl<'a> Difference<'a> {
    fn new(present: &'a BTreeSet<Element>, wanted: &'a BTreeSet<Element>, strays: Strays) -> Self {
        // A port that leads elsewhere has to go whatever becomes of strays.
        let keys: BTreeSet<&[u8]> = wanted.iter().map(|it| it.key.as_slice()).collect();
        let stays = |it: &&Element| {
            wanted.contains(*it) || (strays == Strays::Keep && !keys.contains(it.key.as_slice()))
        };
        let (kept, out) = present.iter().partition(stays);
        Self { kept, out, into: wanted.difference(present).collect() }
    }
}

/// `ERESTART`: the batch was computed from an older generation. Not part of the C library's list.
fn is_restart(error: &NetlinkError) -> bool {
    const ERESTART: i32 = 85;
    error.errno().is_some_and(|it| it.raw_os_error() == ERESTART)
}

/// Names what the kernel refused; if it lacks something, the option that gives it.
fn refused(steps: &[layout::Step], error: NetlinkError) -> NetError {
    let NetlinkError::Refused { index, .. } = &error else {
        return NetError::netlink("write the firewall")(error);
    };
    match index.checked_sub(1).and_then(|it| steps.get(it)) {
        Some(step) => kernel_lacks(&step.doing, &step.options, error),
        None => kernel_lacks("write the firewall", &["CONFIG_NF_TABLES"], error),
    }
}

/// An error that says which options are missing if the kernel's answer means "not built in".
fn kernel_lacks(doing: &str, options: &[&str], source: NetlinkError) -> NetError {
    let doing = doing.to_owned();
    let absent = [
        // The protocol, the subsystem, the chain type or expression, the family.
        Errno::PROTONOSUPPORT,
        Errno::OPNOTSUPP,
        Errno::NOENT,
        Errno::AFNOSUPPORT,
    ];
    // A request outside a batch to an absent subsystem is answered by EINVAL.
    let reading = matches!(source, NetlinkError::Refused { index: 0, .. });
    let lacking =
        source.errno().is_some_and(|it| absent.contains(&it) || (reading && it == Errno::INVAL));
    if lacking {
        NetError::KernelOption { doing, options: options.join(", "), source }
    } else {
        NetError::Netlink { doing, source }
    }
}

/// An error for a firewall that cannot be read.
pub(crate) fn unreadable(source: NetlinkError) -> NetError {
    kernel_lacks("read the firewall", &["CONFIG_NF_TABLES"], source)
}

/// An error for a socket that does not open.
pub(crate) fn no_socket(source: NetlinkError) -> NetError {
    kernel_lacks("configure a firewall", &["CONFIG_NETFILTER_NETLINK", "CONFIG_NF_TABLES"], source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(index: usize, source: Errno) -> NetlinkError {
        NetlinkError::Refused { index, hint: None, source }
    }

    #[test]
    fn a_missing_expression_names_its_kernel_option() {
        let mut batch = Batch::new(Family::Ipv4, TABLE, None);
        let steps = layout::write(&mut batch, Family::Ipv4);
        assert_eq!(batch.changes(), steps.len());
        let fib = steps.iter().position(|it| it.options.contains(&"CONFIG_NFT_FIB_IPV4")).unwrap();
        let text = refused(&steps, error(fib + 1, Errno::NOENT)).to_string();
        assert!(text.contains("CONFIG_NFT_FIB_IPV4"), "{text}");
    }

    #[test]
    fn a_missing_subsystem_names_nf_tables() {
        for error in [error(0, Errno::OPNOTSUPP), error(0, Errno::INVAL)] {
            let text = refused(&[], error).to_string();
            assert_eq!(text, "this kernel cannot write the firewall: it needs CONFIG_NF_TABLES");
        }
        let denied = refused(&[], error(0, Errno::PERM));
        assert_eq!(denied.to_string(), "cannot write the firewall");
    }
}
