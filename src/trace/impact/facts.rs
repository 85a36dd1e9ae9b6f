//! What a report says of the order itself.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::name::{Name, NameList};
use crate::policy::Order;

/// What is to be said about an order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its revision.
    pub revision: u32,
    /// What sort of issuer it has.
    pub kind: String,
    /// Its issuer, empty if not told; as all that follows.
    pub issuer: String,
    /// Its court.
    pub court: String,
    /// Whose law.
    pub jurisdiction: String,
    /// Its docket.
    pub docket: String,
    /// Where it can be read.
    pub url: String,
    /// Its file.
    pub file: String,
    /// Distinct names that it lists to take.
    pub listed: u64,
    /// The zones that stand for it at [`Scale::Zone`](super::scales::Scale::Zone).
    pub zones: Vec<String>,
    /// Orders that it was judged among.
    pub other_orders: u64,
    /// Protected names that it was judged among.
    pub protected_names: u64,
}

impl Facts {
    /// What an order says of itself, that takes the names on these lists and has these zones.
    pub(super) fn of<'l>(order: &Order, lists: impl Iterator<Item = &'l NameList>, zones: &[Name]) -> Facts {
        let authority = &order.authority;
        let distinct: HashSet<Box<[u8]>> =
            lists.flat_map(NameList::iter).map(|name| name.as_wire().into()).collect();
        Facts {
            id: order.id.clone(),
            title: order.title.clone(),
            revision: order.revision,
            kind: authority.kind.to_string(),
            issuer: authority.issuer.clone().unwrap_or_default(),
            court: authority.court.clone().unwrap_or_default(),
            jurisdiction: authority.jurisdiction.clone().unwrap_or_default(),
            docket: authority.docket.clone().unwrap_or_default(),
            url: authority.url.clone().unwrap_or_default(),
            file: order.source.clone(),
            listed: distinct.len() as u64,
            zones: zones.iter().map(Name::to_string).collect(),
            other_orders: 0,
            protected_names: 0,
        }
    }
}
