//! Orders with the names they list: each scope and each exemption has its own, so that none can be missing.

use super::order::{Exemption, Order, Scope};
use super::rule::{ExemptionIndex, ScopeIndex};
use crate::name::NameList;

/// A scope with its names.
#[derive(Clone, Debug)]
pub struct ListedScope {
    /// The scope.
    pub scope: Scope,
    /// The names it lists.
    pub names: NameList,
    /// The names it spares; of kind `exception_kind`.
    pub exceptions: NameList,
}

/// The names of a scope.
#[derive(Clone, Debug, Default)]
pub struct ScopeNames {
    /// Those it lists.
    pub names: NameList,
    /// Those it spares; of kind `exception_kind`.
    pub exceptions: NameList,
}

/// An order together with the names it lists, ready to compile.
#[derive(Clone, Debug)]
pub struct OrderWithNames {
    /// The order. Names belong to the place of a scope or an exemption, and one that is added later on has none.
    pub order: Order,
    /// By scope; what stands beyond the last one is nobody's.
    scopes: Vec<ScopeNames>,
    /// By exemption; what stands beyond the last one is nobody's.
    exempted: Vec<NameList>,
}

/// One list of an order, by the number of the scope or the exemption that it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum ListOf {
    /// What a scope lists.
    Names(ScopeIndex),
    /// What a scope spares.
    Exceptions(ScopeIndex),
    /// What an exemption spares.
    Exempted(ExemptionIndex),
}

/// The names of what nobody gave any.
static NONE: ScopeNames = ScopeNames { names: NameList::new(), exceptions: NameList::new() };

impl ListedScope {
    /// A scope with these names that spares none.
    pub fn new(scope: Scope, names: NameList) -> ListedScope {
        ListedScope { scope, names, exceptions: NameList::new() }
    }

    /// The scope, and its names.
    fn parted(self) -> (Scope, ScopeNames) {
        (self.scope, ScopeNames { names: self.names, exceptions: self.exceptions })
    }
}

impl OrderWithNames {
    /// The order with these scopes and exemptions, whichever it had.
    pub fn new(
        order: Order,
        scopes: Vec<ListedScope>,
        exempted: Vec<(Exemption, NameList)>,
    ) -> OrderWithNames {
        let (scopes, lists) = scopes.into_iter().map(ListedScope::parted).unzip();
        let (exemptions, exempted) = exempted.into_iter().unzip();
        OrderWithNames { order: Order { scopes, exemptions, ..order }, scopes: lists, exempted }
    }

    /// The order with these names, a list for each scope it has, and nothing spared. A scope that there is no list for lists
    /// nothing; lists that there is no scope for are not taken.
    pub fn listing(order: Order, names: impl IntoIterator<Item = NameList>) -> OrderWithNames {
        let names = names.into_iter().take(order.scopes.len());
        let scopes = names.map(|names| ScopeNames { names, ..ScopeNames::default() }).collect();
        OrderWithNames { scopes, ..OrderWithNames::without_names(order) }
    }

    /// An order whose names somebody else has.
    pub fn without_names(order: Order) -> OrderWithNames {
        OrderWithNames { order, scopes: Vec::new(), exempted: Vec::new() }
    }

    /// The scopes with their names.
    // All of them, whatever is known of their names: rules are numbered by scope and keep their numbers over a restart, when names
    // are forgotten.
    pub fn scopes(&self) -> impl Iterator<Item = (&Scope, &ScopeNames)> + Clone {
        self.order.scopes.iter().zip(self.scopes.iter().chain(std::iter::repeat(&NONE)))
    }

    /// The exemptions with their names.
    pub fn exempted(&self) -> impl Iterator<Item = (&Exemption, &NameList)> + Clone {
        self.order.exemptions.iter().zip(self.exempted.iter().chain(std::iter::repeat(&NONE.names)))
    }

    /// The names that each scope lists.
    pub fn names(&self) -> impl Iterator<Item = &NameList> + Clone {
        self.scopes().map(|(_, of)| &of.names)
    }

    /// Every list: what the scopes list, then what they spare, then what is exempted. Digests kept on disk are over them in
    /// that order.
    pub fn lists(&self) -> impl Iterator<Item = &NameList> {
        let spared = self.scopes().map(|(_, of)| &of.exceptions);
        self.names().chain(spared).chain(self.exempted().map(|(_, names)| names))
    }

    /// A list to add to, of a scope or an exemption that the order has.
    pub(super) fn list_mut(&mut self, of: ListOf) -> &mut NameList {
        match of {
            ListOf::Names(scope) => &mut at(&mut self.scopes, scope.0).names,
            ListOf::Exceptions(scope) => &mut at(&mut self.scopes, scope.0).exceptions,
            ListOf::Exempted(exemption) => at(&mut self.exempted, exemption.0),
        }
    }
}

/// What stands at that place, made with all before it if it is not there.
fn at<T: Default>(list: &mut Vec<T>, place: u32) -> &mut T {
    let place = place as usize;
    if list.len() <= place {
        list.resize_with(place + 1, T::default);
    }
    &mut list[place]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use crate::policy::MatchKind;

    fn list(text: &str) -> NameList {
        text.split_whitespace().map(|name| name.parse::<Name>().unwrap()).collect()
    }

    /// An order with as many scopes and exemptions.
    fn order(scopes: usize, exemptions: usize) -> Order {
        let mut order = Order::new("x");
        order.scopes = vec![Scope::new(MatchKind::Exact); scopes];
        order.exemptions = vec![Exemption::default(); exemptions];
        order
    }

    /// All lists, names by spaces and lists by semicolons.
    fn shown(listed: &OrderWithNames) -> String {
        let list = |list: &NameList| list.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" ");
        listed.lists().map(list).collect::<Vec<_>>().join(";")
    }

    #[test]
    fn there_are_as_many_lists_as_the_order_has_whatever_was_given() {
        for (names, expected) in
            [(&[][..], ";;;;"), (&["a b"], "a b;;;;"), (&["a", "b"], "a;b;;;"), (&["a", "b", "c"], "a;b;;;")]
        {
            let names = names.iter().map(|text| list(text));
            assert_eq!(shown(&OrderWithNames::listing(order(2, 1), names)), expected);
        }
        // Scopes that come and go later on.
        let mut listed = OrderWithNames::listing(order(2, 0), [list("a"), list("b")]);
        listed.order.scopes.push(Scope::new(MatchKind::Subtree));
        listed.order.exemptions.push(Exemption::default());
        assert_eq!(shown(&listed), "a;b;;;;;");
        listed.order.scopes.truncate(1);
        assert_eq!((shown(&listed), listed.scopes().count()), ("a;;".into(), 1));
    }

    #[test]
    fn each_has_its_own_and_lists_stand_in_their_order() {
        let scope = |kind, names, exceptions| ListedScope {
            exceptions: list(exceptions),
            ..ListedScope::new(Scope::new(kind), list(names))
        };
        let scopes = vec![scope(MatchKind::Exact, "a", ""), scope(MatchKind::Subtree, "b", "c d")];
        let exempted = vec![(Exemption { important: true, ..Exemption::default() }, list("e"))];
        let mut listed = OrderWithNames::new(order(7, 7), scopes, exempted);
        assert_eq!(shown(&listed), "a;b;;c d;e");
        let kinds: Vec<MatchKind> = listed.scopes().map(|(scope, _)| scope.kind).collect();
        assert_eq!(kinds, [MatchKind::Exact, MatchKind::Subtree]);
        assert!(listed.exempted().all(|(exemption, names)| exemption.important && names.len() == 1));
        for (of, name) in [
            (ListOf::Names(ScopeIndex(0)), "f"),
            (ListOf::Exceptions(ScopeIndex(0)), "g"),
            (ListOf::Exempted(ExemptionIndex(0)), "h"),
        ] {
            listed.list_mut(of).push(&name.parse().unwrap());
        }
        assert_eq!(shown(&listed), "a f;b;g;c d;e h");
        // The same of one that has none yet.
        let mut bare = OrderWithNames::without_names(listed.order);
        bare.list_mut(ListOf::Exceptions(ScopeIndex(1))).push(&"i".parse().unwrap());
        assert_eq!(shown(&bare), ";;;i;");
    }
}
