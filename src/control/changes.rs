//! What a reload changed, in words: a line for each order.

use std::collections::HashMap;
use std::sync::Arc;

use super::lifecycle::said;
use crate::orders::{Loaded, LoadedOrder};
use crate::policy::{Order, Standing, State};
use crate::time::UnixSeconds;

/// What is different, a line for each order.
pub(super) fn changes(before: &Loaded, after: &Loaded, at: UnixSeconds) -> Vec<String> {
    let (old, new) = (by_id(before), by_id(after));
    let mut lines = Vec::new();
    for held in after.orders_in_force() {
        let id = &held.order.id;
        match old.get(id.as_str()) {
            None => {
                lines.push(format!("order {id} added: {}{}", counted(held.names), standing(&held.order, at)))
            }
            Some(was) if *was == held => {}
            Some(was) => lines.push(change(was, held, at)),
        }
    }
    let gone = before.orders_in_force().filter(|held| !new.contains_key(held.order.id.as_str()));
    lines.extend(gone.map(|held| format!("order {} removed: {}", held.order.id, counted(held.names))));
    let protected = |loaded: &Loaded| loaded.protected.iter().map(|group| group.names.len()).sum::<usize>();
    if protected(before) != protected(after) {
        lines.push(format!("protected names: {} -> {}", protected(before), protected(after)));
    }
    lines
}

/// What is different about one order.
fn change(was: &LoadedOrder, is: &LoadedOrder, at: UnixSeconds) -> String {
    let id = &is.order.id;
    if is.order.lifted(at).is_some() && was.order.lifted(at).is_none() {
        return format!("order {id}{}: {} no longer held", standing(&is.order, at), counted(is.names));
    }
    format!("order {id} changed: {} -> {}{}", was.names, counted(is.names), standing(&is.order, at))
}

/// How an order stands at `at`, as the end of a sentence; empty when it is in force.
pub fn standing(order: &Order, at: UnixSeconds) -> String {
    if let Some(lift) = order.lifted(at) {
        return format!(", lifted{}", said(lift));
    }
    match order.state(Standing::InForce, at) {
        State::Lapsed => ", expired".into(),
        State::NotYetEffective => ", not yet in force".into(),
        _ => String::new(),
    }
}

/// The orders in force by id.
fn by_id(loaded: &Loaded) -> HashMap<&str, &Arc<LoadedOrder>> {
    loaded.orders_in_force().map(|held| (held.order.id.as_str(), held)).collect()
}

/// A number of names in words.
fn counted(names: usize) -> String {
    if names == 1 { "1 name".into() } else { format!("{names} names") }
}
