//! Names for containers that were given none: an adjective and a noun.

use rustix::rand::{GetRandomFlags, getrandom};
use wadah_oci::ContainerName;

use crate::EngineError;

const ADJECTIVES: &[&str] = &[
    "able", "airy", "amber", "apt", "aware", "azure", "basic", "bold", "brave", "brief", "bright",
    "brisk", "broad", "calm", "candid", "chief", "civil", "clean", "clear", "clever", "close",
    "cool", "coral", "cosy", "crisp", "daring", "deft", "dense", "eager", "early", "easy", "fair",
    "famous", "fast", "fine", "firm", "fleet", "fluent", "fond", "frank", "free", "fresh", "full",
    "gentle", "glad", "golden", "good", "grand", "great", "green", "happy", "hardy", "hearty",
    "honest", "humble", "ideal", "jolly", "just", "keen", "kind", "large", "light", "lively",
    "loyal", "lucid", "lucky", "major", "merry", "mild", "modest", "neat", "noble", "novel",
    "open", "patient", "plain", "polite", "prime", "proud", "pure", "quick", "quiet", "rapid",
    "ready", "regal", "rich", "robust", "royal", "sharp", "silent", "simple", "sincere", "smart",
    "smooth", "snug", "solid", "sound", "steady", "still", "strong", "sunny", "swift", "tidy",
    "true", "vast", "vital", "vivid", "warm", "wise", "witty", "young", "zesty",
];

const NOUNS: &[&str] = &[
    "acorn", "alder", "anchor", "apple", "arch", "aspen", "badger", "basin", "bay", "beach",
    "beacon", "bear", "birch", "bison", "bridge", "brook", "canyon", "cape", "cedar", "cliff",
    "cloud", "clover", "comet", "coral", "cove", "crane", "creek", "crow", "dawn", "delta",
    "dolphin", "dove", "dune", "eagle", "elk", "elm", "ember", "falcon", "fern", "field", "finch",
    "fjord", "forest", "fox", "garden", "geyser", "glacier", "glade", "grove", "gull", "harbor",
    "hare", "hawk", "hazel", "heron", "hill", "holly", "horizon", "ibis", "island", "ivy", "jay",
    "lagoon", "lake", "lark", "laurel", "lily", "lynx", "maple", "marsh", "marten", "meadow",
    "mesa", "moon", "moose", "moss", "oak", "oasis", "ocean", "orchid", "otter", "owl", "peak",
    "pebble", "pine", "plover", "pond", "poppy", "prairie", "quail", "rain", "raven", "reef",
    "ridge", "river", "robin", "sail", "seal", "shore", "sky", "sparrow", "spruce", "star",
    "stone", "stork", "stream", "summit", "sun", "swan", "thistle", "tide", "trout", "tulip",
    "valley", "wave", "willow", "wind", "wolf", "wren",
];

/// Random bytes of the kernel's.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], EngineError> {
    let mut bytes = [0; N];
    let length = getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|error| EngineError::io("cannot read random bytes", error.into()))?;
    assert_eq!(length, N, "BUG: up to 256 bytes come at once (getrandom(2))");
    Ok(bytes)
}

/// Makes a name up. From the third attempt on it carries a number, so that a machine with very
/// many containers finds one, too.
pub(crate) fn made_up(attempt: u32) -> Result<ContainerName, EngineError> {
    let [a, b, c, d, e, f] = random::<6>()?;
    let pick = |words: &[&'static str], high: u8, low: u8| {
        words[usize::from(u16::from_be_bytes([high, low])) % words.len()]
    };
    let (adjective, noun) = (pick(ADJECTIVES, a, b), pick(NOUNS, c, d));
    let name = if attempt < 2 {
        format!("{adjective}_{noun}")
    } else {
        format!("{adjective}_{noun}{}", u16::from_be_bytes([e, f]))
    };
    Ok(name.parse().expect("BUG: words make a valid name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_are_names() {
        for attempt in 0..100 {
            let name = made_up(attempt).unwrap();
            assert!(name.to_string().contains('_'));
        }
    }
}
