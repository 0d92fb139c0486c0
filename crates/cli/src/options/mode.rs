//! Modes: values that are one of a few words, or a number within bounds.

use bollard_stubs::models::{RestartPolicy, RestartPolicyNameEnum};

use crate::{flag::Invalid, unit};

/// Reads a restart policy.
pub(super) fn restart(text: &str) -> Result<RestartPolicy, Invalid> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    let policy = match name {
        "" | "no" => RestartPolicyNameEnum::NO,
        "always" => RestartPolicyNameEnum::ALWAYS,
        "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
        "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
        _ => return Err(Invalid(format!("invalid restart policy: unknown policy '{name}'"))),
    };
    let count = match count {
        None => None,
        Some(_) if policy != RestartPolicyNameEnum::ON_FAILURE => {
            let message = "invalid restart policy: maximum retry count only goes with on-failure";
            return Err(Invalid(message.to_owned()));
        }
        Some(count) => Some(
            count
                .parse()
                .map_err(|_| Invalid("maximum retry count must be an integer".to_owned()))?,
        ),
    };
    Ok(RestartPolicy { name: Some(policy), maximum_retry_count: count })
}

/// Reads the mode of a namespace: the host's, or, where that is possible, another container's.
pub(super) fn namespace(text: &str, joinable: bool, message: &str) -> Result<String, Invalid> {
    let joins = joinable && text.strip_prefix("container:").is_some_and(|it| !it.is_empty());
    if ["", "host", "private"].contains(&text) || joins {
        return Ok(text.to_owned());
    }
    Err(Invalid(message.to_owned()))
}

/// Reads how readily memory is swapped out; -1 leaves it to the kernel.
pub(super) fn swappiness(text: &str) -> Result<i64, Invalid> {
    match unit::whole(text)? {
        it @ -1..=100 => Ok(it),
        it => Err(Invalid(format!("invalid value: {it}. Valid memory swappiness range is 0-100"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies_are_understood() {
        let shown =
            |it| restart(it).map(|it| (it.name.unwrap().to_string(), it.maximum_retry_count));
        assert_eq!(shown("on-failure:3"), Ok(("on-failure".to_owned(), Some(3))));
        assert_eq!(shown("unless-stopped"), Ok(("unless-stopped".to_owned(), None)));
        shown("always:3").unwrap_err();
        shown("sometimes").unwrap_err();
    }
}
