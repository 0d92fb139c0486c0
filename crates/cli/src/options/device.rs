//! Devices, their limits, and limits of the process.

use bollard_stubs::models::{
    DeviceMapping, DeviceRequest, HostConfig, ResourcesBlkioWeightDevice, ResourcesUlimits,
    ThrottleDevice,
};

use crate::{
    failure::Failure,
    flag::{Invalid, push},
};

/// The limits that `--ulimit` knows.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads `PATH[:PATH[:PERMISSIONS]]`.
pub(super) fn mapping(text: &str) -> Result<DeviceMapping, Invalid> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, second] if is_permissions(second) => (host, host, second),
        [host, container] => (host, container, "rwm"),
        [host, container, permissions] => (host, container, permissions),
        _ => return Err(Invalid(format!("invalid device specification: {text}"))),
    };
    if !is_permissions(permissions) {
        return Err(Invalid(format!("bad mode specified: {permissions}")));
    }
    let container = if container.is_empty() { host } else { container };
    if !host.starts_with('/') || !container.starts_with('/') {
        return Err(Invalid(format!("{text} is not an absolute path")));
    }
    Ok(DeviceMapping {
        path_on_host: Some(host.to_owned()),
        path_in_container: Some(container.to_owned()),
        cgroup_permissions: Some(permissions.to_owned()),
    })
}

fn is_permissions(text: &str) -> bool {
    !text.is_empty() && text.len() <= 3 && text.bytes().all(|it| b"rwm".contains(&it))
}

/// Whether `text` names a device by the Container Device Interface, `VENDOR/CLASS=NAME`.
pub(super) fn is_cdi(text: &str) -> bool {
    !text.starts_with('/')
        && text.split_once('=').is_some_and(|(kind, name)| kind.contains('/') && !name.is_empty())
}

/// Asks for devices by their CDI names.
pub(super) fn requests(host: &mut HostConfig, cdi: Vec<String>) -> Result<(), Failure> {
    if !cdi.is_empty() {
        let request = DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(cdi),
            ..DeviceRequest::default()
        };
        push(&mut host.device_requests, request);
    }
    Ok(())
}

/// Reads `PATH:RATE`.
pub(super) fn throttle(
    text: &str,
    rate: fn(&str) -> Result<i64, Invalid>,
) -> Result<ThrottleDevice, Invalid> {
    let (path, number) = device_and(text)?;
    let rate = rate(number).ok().filter(|it| *it >= 0);
    let rate = rate.ok_or_else(|| Invalid(format!("invalid rate for device: {text}")))?;
    Ok(ThrottleDevice { path: Some(path.to_owned()), rate: Some(rate) })
}

/// Reads `PATH:WEIGHT`.
pub(super) fn weighted(text: &str) -> Result<ResourcesBlkioWeightDevice, Invalid> {
    let (path, number) = device_and(text)?;
    let weight =
        weight(number).map_err(|_| Invalid(format!("invalid weight for device: {text}")))?;
    Ok(ResourcesBlkioWeightDevice {
        path: Some(path.to_owned()),
        weight: Some(usize::from(weight)),
    })
}

fn device_and(text: &str) -> Result<(&str, &str), Invalid> {
    match text.split_once(':') {
        Some((path, number)) if path.starts_with("/dev/") && !number.is_empty() => {
            Ok((path, number))
        }
        _ => Err(Invalid(format!("bad format for device path: {text}"))),
    }
}

/// Reads a block I/O weight.
pub(super) fn weight(text: &str) -> Result<u16, Invalid> {
    match text.parse() {
        Ok(weight @ (0 | 10..=1000)) => Ok(weight),
        _ => Err(Invalid("must be 0 or between 10 and 1000".to_owned())),
    }
}

/// Reads `NAME=SOFT[:HARD]`.
pub(super) fn ulimit(text: &str) -> Result<ResourcesUlimits, Invalid> {
    let invalid = || Invalid(format!("invalid ulimit argument: {text}"));
    let (name, limits) = text.split_once('=').ok_or_else(invalid)?;
    if !ULIMITS.contains(&name) {
        return Err(Invalid(format!("invalid ulimit type: {name}")));
    }
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let limit = |it: &str| match it {
        "unlimited" => Ok(-1),
        _ => it.parse::<i64>().ok().filter(|it| *it >= -1).ok_or_else(invalid),
    };
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    let above = hard != -1 && (soft > hard || soft == -1);
    if above {
        let message =
            format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}");
        return Err(Invalid(message));
    }
    Ok(ResourcesUlimits { name: Some(name.to_owned()), soft: Some(soft), hard: Some(hard) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match mapping(text) {
            Ok(it) => [it.path_on_host, it.path_in_container, it.cgroup_permissions]
                .map(Option::unwrap)
                .join(" "),
            Err(Invalid(message)) => message,
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn devices_have_a_place_and_permissions() {
        check("/dev/fuse", "/dev/fuse /dev/fuse rwm");
        check("/dev/fuse:r", "/dev/fuse /dev/fuse r");
        check("/dev/sda:/dev/xvda:rw", "/dev/sda /dev/xvda rw");
        check("/dev/sda:/dev/xvda:xw", "bad mode specified: xw");
        check("sda", "sda is not an absolute path");
        assert!(is_cdi("vendor.com/gpu=all"));
        assert!(!is_cdi("/dev/a=b"));
    }

    #[test]
    fn ulimits_are_ordered() {
        let limits = |it| ulimit(it).map(|it| (it.soft.unwrap(), it.hard.unwrap()));
        assert_eq!(limits("nofile=1024:2048"), Ok((1024, 2048)));
        assert_eq!(limits("core=0"), Ok((0, 0)));
        assert_eq!(limits("memlock=-1"), Ok((-1, -1)));
        limits("nofile=10:5").unwrap_err();
        assert_eq!(limits("no=1"), Err(Invalid("invalid ulimit type: no".to_owned())));
    }

    #[test]
    fn rates_are_of_devices() {
        let rate = |it| throttle(it, crate::unit::bytes).map(|it| it.rate.unwrap());
        assert_eq!(rate("/dev/sda:1mb"), Ok(1 << 20));
        rate("/home:1mb").unwrap_err();
        weighted("/dev/sda:5").unwrap_err();
    }
}
