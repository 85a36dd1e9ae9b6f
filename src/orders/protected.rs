//! Protected names: read like any list, and compared with what orders list.

use std::collections::HashMap;
use std::sync::Arc;

use super::{ProtectedSpec, files, names};
use crate::name::{Name, NameList};
use crate::policy::{Action, MatchKind, OrderWithNames, Protected};
use crate::problem::Problem;

/// Names that a message lists before it only counts.
const NAMED: usize = 10;

/// Reads one group; what it finds wrong with single names goes to `problems`.
///
/// # Errors
/// When its file cannot be read.
pub(super) fn read(
    spec: &ProtectedSpec,
    problems: &mut Vec<Problem>,
    refused_lines: &mut usize,
) -> Result<Vec<Protected>, Problem> {
    let mut groups = Vec::new();
    if let Some(path) = &spec.file {
        let shown = path.display().to_string();
        let content = files::read_list(path).map_err(|files::Unreadable { why, hint, .. }| {
            let message = format!("cannot read the protected names in {shown}: {why}");
            Problem::error(&spec.source, None, message).hint(hint)
        })?;
        let mut list = NameList::new();
        let (found, refused) = names::visit(&content, &shown, |_, name| list.push(name));
        *refused_lines += refused;
        problems.extend(found);
        if list.is_empty() {
            problems.push(Problem::warning(&shown, None, "the file holds no names to protect"));
        }
        list.shrink_to_fit();
        groups.push(Protected { kind: spec.kind, names: list, source: shown });
    }
    let mut list = NameList::new();
    for text in &spec.names {
        match names::name(text) {
            Ok(name) => list.push(&name),
            Err(refused) => {
                let message = format!("a protected name is refused: {refused}");
                problems.push(Problem::error(&spec.source, None, message).hint(refused.hint()));
            }
        }
    }
    if !list.is_empty() {
        groups.push(Protected { kind: spec.kind, names: list, source: spec.source.clone() });
    }
    Ok(groups)
}

/// A warning for every order, by its id, that lists names which it will not capture because they are protected.
pub(super) fn conflicts<'o>(
    protected: &[Protected],
    orders: impl Iterator<Item = &'o Arc<OrderWithNames>>,
) -> Vec<(String, Problem)> {
    if protected.iter().all(|group| group.names.is_empty()) {
        return Vec::new();
    }
    let index = Index::new(protected);
    orders.filter_map(|listed| Some((listed.order.id.clone(), index.conflict(listed)?))).collect()
}

/// Which kinds of protection stand at each protected name.
struct Index {
    /// By wire form: exact, subtree, subtree-below.
    kinds: HashMap<Box<[u8]>, [bool; 3]>,
}

impl Index {
    /// Collects all groups.
    fn new(protected: &[Protected]) -> Index {
        let mut kinds: HashMap<Box<[u8]>, [bool; 3]> = HashMap::new();
        for group in protected {
            for name in group.names.iter() {
                kinds.entry(name.as_wire().into()).or_default()[group.kind as usize] = true;
            }
        }
        Index { kinds }
    }

    /// Whether a name is protected.
    fn protects(&self, name: &Name) -> bool {
        let mut wire = name.as_wire();
        let mut below = 0;
        loop {
            if let Some(kinds) = self.kinds.get(wire) {
                let all = [MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow];
                if all.iter().zip(kinds).any(|(kind, &stands)| stands && kind.covers(below)) {
                    return true;
                }
            }
            match wire {
                [0] | [] => return false,
                [length, ..] => wire = &wire[1 + usize::from(*length)..],
            }
            below += 1;
        }
    }

    /// A warning if the order lists protected names.
    fn conflict(&self, listed: &OrderWithNames) -> Option<Problem> {
        let mut found = Vec::new();
        let mut total = 0;
        let mut file = "";
        for (scope, of) in listed.scopes() {
            if scope.action.unwrap_or(listed.order.action) == Action::Passthru {
                continue;
            }
            for name in of.names.iter().filter(|name| self.protects(name)) {
                if total < NAMED {
                    found.push(name.to_string());
                }
                if total == 0 {
                    file = &scope.source;
                }
                total += 1;
            }
        }
        let more = match total.saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message =
            format!("protected names are listed and will not be captured: {}{more}", found.join(", "));
        (total > 0).then(|| Problem::warning(file, None, message))
    }
}
