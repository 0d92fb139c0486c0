//! Resource limits, clamped where the hard limit cannot be raised.

use oci_spec::runtime::{PosixRlimit, PosixRlimitType};
use rustix::{
    process::{Resource, Rlimit, getrlimit},
    thread::{CapabilitySet, capabilities},
};

use crate::{CreateError, plan::invalid};

/// Plans the limits. Without CAP_SYS_RESOURCE a hard limit can only be lowered: what is above is
/// clamped with a warning.
pub(super) fn plan(
    asked: &[PosixRlimit],
    warnings: &mut Vec<String>,
) -> Result<Vec<(Resource, Rlimit)>, CreateError> {
    let may_raise =
        capabilities(None).is_ok_and(|it| it.effective.contains(CapabilitySet::SYS_RESOURCE));
    let mut planned: Vec<(Resource, Rlimit)> = Vec::with_capacity(asked.len());
    for limit in asked {
        let resource = resource(limit.typ());
        if planned.iter().any(|(it, _)| *it == resource) {
            return Err(invalid("process.rlimits", format!("{} is there twice", limit.typ())));
        }
        if limit.soft() > limit.hard() {
            let problem = format!("{}: soft limit above the hard limit", limit.typ());
            return Err(invalid("process.rlimits", problem));
        }
        let mut rlimit = Rlimit { current: finite(limit.soft()), maximum: finite(limit.hard()) };
        let ceiling = getrlimit(resource).maximum;
        if !may_raise && exceeds(rlimit.maximum, ceiling) {
            let (name, shown) = (limit.typ(), show(ceiling));
            warnings.push(format!("{name}: hard limit {} clamped to {shown}", limit.hard()));
            rlimit.maximum = ceiling;
            if exceeds(rlimit.current, ceiling) {
                rlimit.current = ceiling;
            }
        }
        planned.push((resource, rlimit));
    }
    Ok(planned)
}

fn finite(value: u64) -> Option<u64> {
    (value != u64::MAX).then_some(value)
}

fn exceeds(value: Option<u64>, ceiling: Option<u64>) -> bool {
    match (value, ceiling) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(value), Some(ceiling)) => value > ceiling,
    }
}

fn show(limit: Option<u64>) -> String {
    limit.map_or("unlimited".into(), |it| it.to_string())
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}
