//! One `[[scope]]` of an order file: how names match, and the names.

use std::fmt;
use std::ops::Range;

use super::guard::Guard;
use super::names;
use super::open::{Content, Open};
use super::table::{Source, Table};
use super::time;
use crate::name::{Name, NameList};
use crate::policy::{Action, ListedScope, MatchKind, Scope, Window};
use crate::problem::Problem;

/// The words for actions: local data takes records, which only an RPZ has.
pub(super) const ACTIONS: [Action; 8] = [
    Action::SINKHOLE,
    Action::NODATA,
    Action::NXDOMAIN,
    Action::REFUSED,
    Action::DROP,
    Action::TCP_ONLY,
    Action::Observe,
    Action::Passthru,
];

/// What all scopes of an order share while they are read.
pub(super) struct Context<'c, 't> {
    /// The order file.
    pub source: &'c Source<'t>,
    /// The order's zones.
    pub zones: &'c [(Name, Range<usize>)],
    /// The order's window.
    pub window: &'c Window,
    /// The order's action.
    pub action: Action,
    /// Watches the names.
    pub guard: &'c mut Guard,
    /// Opens the files that scopes name.
    pub open: &'c mut Open<'c>,
    /// Lines of names files refused so far.
    pub refused_lines: &'c mut usize,
}

/// How an order file says that names match.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Match {
    /// As a policy scope of this kind.
    Kind(MatchKind),
    /// Whole zones: the order's own if none are named.
    Zone,
}

/// The words for [`Match`].
pub(super) const MATCHES: [Match; 4] = [
    Match::Kind(MatchKind::Exact),
    Match::Kind(MatchKind::Subtree),
    Match::Kind(MatchKind::SubtreeBelow),
    Match::Zone,
];
/// The words for what an exception spares.
pub(super) const KINDS: [MatchKind; 3] = [MatchKind::Exact, MatchKind::Subtree, MatchKind::SubtreeBelow];

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Match::Kind(kind) => kind.fmt(f),
            Match::Zone => f.write_str("zone"),
        }
    }
}

/// Reads one `[[scope]]`, a scope for each place its names stand in. Every problem goes to the context's source.
pub(super) fn read(mut table: Table<'_, '_>, context: &mut Context<'_, '_>) -> Vec<ListedScope> {
    let source = context.source;
    let matching = table.word("match", &MATCHES);
    if matching.is_none() && table.value("match").is_none() {
        let hint =
            "say what a listed name covers: match = \"exact\", \"subtree\", \"subtree-below\" or \"zone\"";
        source.error(table.span(), "a scope without match", hint);
    }
    let kind = match matching {
        Some(Match::Kind(kind)) => kind,
        Some(Match::Zone) => MatchKind::Subtree,
        None => MatchKind::Exact,
    };
    let inline = table.texts("names");
    let mut files = table.texts("file");
    files.extend(table.texts("files"));
    let family = table.line("family");
    let tags = table.texts("tags").into_iter().map(|(tag, _)| tag.to_string()).collect();
    let action = table.word("action", &ACTIONS);
    let own = window(&mut table, source);
    let both = own.intersect(context.window);
    if let (Some(from), Some(until)) = (both.effective, both.expires)
        && from >= until
        && own != Window::default()
    {
        source.warning(table.span(), "the scope's window lies outside the order's: it is never in force", "");
    }
    let (exceptions, exception_kind) = exceptions(&mut table, context);

    let template = Scope {
        window: own,
        family,
        tags,
        action,
        exception_kind,
        source: source.file().into(),
        ..Scope::new(kind)
    };
    let frees = action.unwrap_or(context.action) == Action::Passthru;
    let whole_zones = matching == Some(Match::Zone) && inline.is_empty() && files.is_empty();
    let mut scopes = Vec::new();
    let mut list = NameList::new();
    if whole_zones {
        for (zone, span) in context.zones {
            context.guard.see(zone, kind, frees, source.file(), source.line(span.start));
            list.push(zone);
        }
    }
    for (text, span) in &inline {
        if let Some(name) = inline_name(source, text, span) {
            context.guard.see(&name, kind, frees, source.file(), source.line(span.start));
            list.push(&name);
        }
    }
    let mut total = list.len();
    if !list.is_empty() {
        let scope = template.clone();
        scopes.push(ListedScope { scope, names: list, exceptions: exceptions.clone() });
    }
    for (written, span) in &files {
        let mut list = NameList::new();
        let guard = &mut *context.guard;
        let shown =
            read_file(context.open, context.refused_lines, source, written, span, |file, line, name| {
                guard.see(name, kind, frees, file, line);
                list.push(name);
            });
        let Some((shown, known)) = shown else { continue };
        list.shrink_to_fit();
        total += list.len() + usize::from(known);
        let scope = Scope { source: shown, ..template.clone() };
        scopes.push(ListedScope { scope, names: list, exceptions: exceptions.clone() });
    }
    if total == 0 && !source.is_broken() {
        let hint = "give it names = [...] or file = \"...\"; an order is ended by lifted = true, not by an empty list";
        source.error(table.span(), "a scope without names", hint);
    }
    table.finish(&[]);
    scopes
}

/// Reads the names that a scope spares, and how they match.
fn exceptions(table: &mut Table<'_, '_>, context: &mut Context<'_, '_>) -> (NameList, MatchKind) {
    let source = context.source;
    let inline = table.texts("except");
    let files = table.texts("except_file");
    let kind = table.word("except_match", &KINDS);
    if kind.is_none() && table.value("except_match").is_none() && !(inline.is_empty() && files.is_empty()) {
        let place = if inline.is_empty() { table.place("except_file") } else { table.place("except") };
        let hint = "say what an exception spares: except_match = \"exact\", \"subtree\" or \"subtree-below\"";
        source.error(&place, "exceptions without except_match", hint);
    }
    let mut list: NameList =
        inline.iter().filter_map(|(text, span)| inline_name(source, text, span)).collect();
    for (written, span) in &files {
        let before = *context.refused_lines;
        read_file(context.open, context.refused_lines, source, written, span, |_, _, name| list.push(name));
        // A lost exception would capture an innocent name, so here one bad line refuses the order.
        if *context.refused_lines > before {
            source.error(
                span,
                "lines of the exceptions are refused, and the order with them",
                "mend these lines",
            );
        }
    }
    list.shrink_to_fit();
    (list, kind.unwrap_or_default())
}

/// Reads a name in the order file itself.
pub(super) fn inline_name(source: &Source<'_>, text: &str, span: &Range<usize>) -> Option<Name> {
    match names::name(text) {
        Ok(name) => Some(name),
        Err(refused) => {
            source.error(span, refused.to_string(), refused.hint());
            None
        }
    }
}

/// Reads a file of names; gives back how the operator would name it and whether its names are known and were left out, or
/// nothing if it cannot be read.
fn read_file(
    open: &mut Open<'_>,
    refused_lines: &mut usize,
    source: &Source<'_>,
    written: &str,
    span: &Range<usize>,
    mut visit: impl FnMut(&str, u32, &Name),
) -> Option<(String, bool)> {
    let list = open(written);
    let content = match list.content {
        Ok(Content::Octets(content)) => content,
        Ok(Content::Known) => return Some((list.shown, true)),
        Err((why, hint)) => {
            source.error(span, format!("cannot read {}: {why}", list.shown), hint);
            return None;
        }
    };
    if content.is_empty() {
        source.note(Problem::warning(&list.shown, None, "the file is empty"));
    }
    let (problems, refused) =
        names::visit(&content, &list.shown, |line, name| visit(&list.shown, line, name));
    *refused_lines += refused;
    problems.into_iter().for_each(|problem| source.note(problem));
    Some((list.shown, false))
}

/// Reads a window's keys.
pub(super) fn window(table: &mut Table<'_, '_>, source: &Source<'_>) -> Window {
    let window =
        Window { effective: table.time("effective"), expires: table.time("expires"), review_by: None };
    if let (Some(from), Some(until)) = (window.effective, window.expires)
        && from >= until
    {
        let message =
            format!("expires ({}) is not after effective ({})", time::show(until), time::show(from));
        source.error(&table.place("expires"), message, "");
    }
    window
}
