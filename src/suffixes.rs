//! What the Public Suffix List says, by one way in: the list is compiled as code, anew for each kind of iterator that it is asked with, and that is
//! 400 kB each time.

use psl::{Info, List, Psl};

/// What it says of labels, that of the top level first.
pub(crate) fn find(labels: &mut dyn Iterator<Item = &[u8]>) -> Info {
    List.find(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_asked_from_the_top_level_down() {
        for (labels, octets) in
            [(&["com", "example"][..], 3), (&["uk", "co", "example"], 5), (&["nowhere"], 7), (&[], 0)]
        {
            let info = find(&mut labels.iter().map(|label| label.as_bytes()));
            assert_eq!(info.len, octets, "{labels:?}");
        }
    }
}
