//! Which policy zones concern a client.

use super::order::Order;

/// Zones that can be left out for somebody: enough for any configuration, and a view stays half a cache line.
pub const MAX_ZONES: usize = 256;

/// The policy zones that concern a client at a moment. What a court, an agency or a registry ordered concerns everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// A bit for each zone that is left out.
    left_out: [u64; MAX_ZONES / 64],
}

impl View {
    /// All zones concern everybody.
    pub const ALL: View = View { left_out: [0; MAX_ZONES / 64] };

    /// No zone concerns the client, except those that cannot be left out: orders from outside.
    pub const NONE: View = View { left_out: [u64::MAX; MAX_ZONES / 64] };

    /// The same view without the zone of that number; zones from [`MAX_ZONES`] on cannot be left out.
    #[must_use]
    pub fn without(mut self, zone: u16) -> View {
        if let Some(word) = self.left_out.get_mut(usize::from(zone) / 64) {
            *word |= 1 << (zone % 64);
        }
        self
    }

    /// The same view with the zone of that number.
    #[must_use]
    pub fn with(mut self, zone: u16) -> View {
        if let Some(word) = self.left_out.get_mut(usize::from(zone) / 64) {
            *word &= !(1 << (zone % 64));
        }
        self
    }

    /// The zones that are in either view.
    #[must_use]
    pub fn or(mut self, other: &View) -> View {
        self.left_out.iter_mut().zip(&other.left_out).for_each(|(mine, theirs)| *mine &= theirs);
        self
    }

    /// The zones that are in both views.
    #[must_use]
    pub fn and(mut self, other: &View) -> View {
        self.left_out.iter_mut().zip(&other.left_out).for_each(|(mine, theirs)| *mine |= theirs);
        self
    }

    /// Whether an order of that zone concerns the client.
    #[inline]
    pub fn includes(&self, zone: u16, order: &Order) -> bool {
        self.has(zone) || order.authority.kind.is_external()
    }

    /// Whether the zone is in it.
    #[inline]
    pub fn has(&self, zone: u16) -> bool {
        self.left_out.get(usize::from(zone) / 64).is_none_or(|word| word & (1 << (zone % 64)) == 0)
    }
}

impl Default for View {
    fn default() -> View {
        View::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::IssuerKind;

    #[test]
    fn zones_left_out_still_hold_what_courts_ordered() {
        let view = View::ALL.without(3).without(64).without(999);
        let mut order = Order::new("x");
        for (zone, expected) in [(0, true), (3, false), (64, false), (65, true), (999, true)] {
            assert_eq!(view.includes(zone, &order), expected, "{zone}");
        }
        order.authority.kind = IssuerKind::Court;
        assert!(view.includes(3, &order) && !view.has(3));
    }

    #[test]
    fn views_are_sets_of_zones() {
        let (one, two) = (View::NONE.with(1).with(200), View::NONE.with(2).with(200).with(256));
        for (view, expected) in [
            (View::ALL, &[0, 1, 2, 200, 256][..]),
            (View::NONE, &[256]), // which cannot be left out
            (one, &[1, 200, 256]),
            (one.or(&two), &[1, 2, 200, 256]),
            (one.and(&two), &[200, 256]),
            (one.without(1).with(1), &[1, 200, 256]),
        ] {
            let has: Vec<u16> = [0, 1, 2, 200, 256].into_iter().filter(|zone| view.has(*zone)).collect();
            assert_eq!(has, expected, "{view:?}");
        }
    }
}
