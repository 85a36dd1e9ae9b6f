//! Groups, schedules and pauses together, by virtual time.

use super::*;
use crate::policy::{IssuerKind, Order};
use jiff::tz::TimeZone;

/// The first Monday of 2024, 00:00 UTC.
const MONDAY: UnixSeconds = 1_704_067_200;
/// Seconds in an hour.
const HOUR: UnixSeconds = 3600;

fn group(name: &str, networks: &[&str], view: View, schedule: Vec<Row>) -> Group {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    Group { schedule, ..Group::plain(name, networks, view) }
}

/// A row of whole hours, UTC, every day.
fn row(from: u16, until: u16, without: &[u16], also: &[u16]) -> Row {
    Row {
        hours: Hours { days: [true; 7], from: from * 60, until: until * 60, time_zone: TimeZone::UTC },
        without: without.iter().fold(View::ALL, |view, zone| view.without(*zone)),
        also: also.iter().fold(View::NONE, |view, zone| view.with(*zone)),
    }
}

/// Zones 0 to 3 in a view.
fn zones(view: View) -> Vec<u16> {
    (0..4).filter(|zone| view.has(*zone)).collect()
}

#[test]
fn who_is_in_no_group_is_in_the_default_one() {
    let kids = || group("kids", &["192.168.1.64/26", "2001:db8:1::/64"], View::ALL.without(2), Vec::new());
    let guests = || group("guests", &["192.168.1.0/24"], View::NONE.with(1), Vec::new());
    let default = || group(DEFAULT, &["192.168.1.70"], View::ALL.without(3), Vec::new());
    for (groups, addr, number, expected) in [
        (vec![], "192.168.1.70", 0, &[0, 1, 2, 3][..]),
        (vec![kids(), guests()], "192.168.1.65", 1, &[0, 1, 3]),
        (vec![kids(), guests()], "::ffff:192.168.1.65", 1, &[0, 1, 3]),
        (vec![kids(), guests()], "2001:db8:1::77", 1, &[0, 1, 3]),
        (vec![kids(), guests()], "192.168.1.1", 2, &[1]),
        (vec![kids(), guests()], "10.0.0.1", 0, &[0, 1, 2, 3]),
        (vec![kids(), default(), guests()], "10.0.0.1", 0, &[0, 1, 2]),
        (vec![kids(), default(), guests()], "192.168.1.70", 0, &[0, 1, 2]),
        (vec![kids(), default(), guests()], "192.168.1.71", 1, &[0, 1, 3]),
        (vec![kids(), default(), guests()], "192.168.1.1", 2, &[1]),
    ] {
        let clients = Clients::new(&groups);
        let found = clients.group_of(addr.parse().unwrap());
        assert_eq!(found, number, "{addr}");
        assert_eq!(zones(clients.view(found, MONDAY)), expected, "{addr}");
    }
    let clients = Clients::new(&[kids(), default()]);
    assert_eq!((clients.groups(), clients.name(0), clients.name(1)), (2, Some(DEFAULT), Some("kids")));
    assert_eq!(clients.view(999, MONDAY), clients.view(0, MONDAY));
}

#[test]
fn rows_change_what_they_name_and_later_ones_have_the_last_word() {
    let base = View::NONE.with(0).with(1);
    for (schedule, hour, expected) in [
        (vec![row(8, 14, &[], &[2])], 7, &[0, 1][..]),
        (vec![row(8, 14, &[], &[2])], 8, &[0, 1, 2]),
        (vec![row(8, 14, &[], &[2])], 14, &[0, 1]),
        (vec![row(8, 14, &[0], &[])], 8, &[1]),
        (vec![row(8, 14, &[0], &[2])], 8, &[1, 2]),
        (vec![row(8, 14, &[0], &[0])], 8, &[0, 1]),
        (vec![row(8, 14, &[0], &[]), row(10, 12, &[], &[0, 3])], 9, &[1]),
        (vec![row(8, 14, &[0], &[]), row(10, 12, &[], &[0, 3])], 11, &[0, 1, 3]),
        (vec![row(10, 12, &[], &[0, 3]), row(8, 14, &[0], &[])], 11, &[1, 3]),
        (vec![row(22, 6, &[], &[3])], 23, &[0, 1, 3]),
        (vec![row(22, 6, &[], &[3])], 5, &[0, 1, 3]),
        (vec![row(22, 6, &[], &[3])], 6, &[0, 1]),
    ] {
        let clients = Clients::new(&[group("kids", &["10.0.0.0/8"], base, schedule.clone())]);
        let at = MONDAY + hour * HOUR;
        assert_eq!(zones(clients.view(1, at)), expected, "{hour} {schedule:?}");
        assert_eq!(zones(clients.view(1, at + 59)), expected, "{hour} {schedule:?}");
        assert_eq!(zones(clients.view(0, at)), [0, 1, 2, 3]);
    }
}

#[test]
fn the_last_of_all_rows_counts_too() {
    let mut schedule = vec![row(0, 24, &[0], &[]); MAX_ROWS - 1];
    schedule.push(row(0, 24, &[1], &[0]));
    let clients = Clients::new(&[group("kids", &["10.0.0.0/8"], View::ALL, schedule)]);
    assert_eq!(zones(clients.view(1, MONDAY)), [0, 2, 3]);
}

#[test]
fn pauses_end_at_their_second() {
    let mut clients = Clients::new(&[group("kids", &["10.0.0.0/8"], View::ALL.without(0), Vec::new())]);
    let before = clients.clone();
    let seen = |clients: &Clients, at| [0, 1].map(|group| zones(clients.view(group, at)).len());
    assert_eq!(seen(&clients, MONDAY), [4, 3]);

    clients.pause(Some("kids"), MONDAY + 10).unwrap();
    assert_eq!(
        [seen(&clients, MONDAY), seen(&clients, MONDAY + 9), seen(&clients, MONDAY + 10)],
        [[4, 0], [4, 0], [4, 3]]
    );
    clients.pause(None, MONDAY + 5).unwrap();
    assert_eq!(
        [seen(&clients, MONDAY + 4), seen(&clients, MONDAY + 5), seen(&clients, MONDAY + 10)],
        [[0, 0], [4, 0], [4, 3]]
    );
    assert_eq!(clients.pauses(MONDAY + 4), [(None, MONDAY + 5), (Some("kids".into()), MONDAY + 10)]);
    assert_eq!(clients.pauses(MONDAY + 5), [(Some("kids".into()), MONDAY + 10)]);
    assert_eq!(clients.pauses(MONDAY + 10), []);

    // Ending the group's own leaves everybody's, and the other way round everything ends.
    clients.resume(Some("kids")).unwrap();
    assert_eq!([seen(&clients, MONDAY + 4), seen(&clients, MONDAY + 5)], [[0, 0], [4, 3]]);
    clients.pause(Some("kids"), UnixSeconds::MAX).unwrap();
    assert_eq!(seen(&clients, MONDAY + 1_000_000), [4, 0]);
    clients.resume(None).unwrap();
    assert_eq!(seen(&clients, MONDAY), [4, 3]);
    assert!(clients.is_paused_like(&before));
}

#[test]
fn pauses_go_over_to_other_groups_of_the_same_name() {
    let kids = |network| group("kids", &[network], View::ALL, Vec::new());
    let mut before =
        Clients::new(&[group("cats", &["10.9.0.0/16"], View::ALL, Vec::new()), kids("10.0.0.0/8")]);
    for group in ["kids", "cats"] {
        before.pause(Some(group), MONDAY).unwrap();
    }
    let after = Clients::new(&[kids("192.0.2.0/24")]).paused_like(&before);
    assert_eq!(after.pauses(MONDAY - 1), [(Some("kids".into()), MONDAY)]);
    before.pause(None, MONDAY + 1).unwrap();
    let after = Clients::everyone().paused_like(&before);
    assert_eq!(after.pauses(MONDAY - 1), [(None, MONDAY + 1)]);
}

#[test]
fn nobody_needs_to_look_unless_something_differs() {
    let mut clients = Clients::everyone();
    for pause in [None, Some(DEFAULT)] {
        assert!(clients.is_trivial());
        clients.pause(pause, MONDAY).unwrap();
        assert!(!clients.is_trivial(), "{pause:?}");
        assert!(clients.view(0, MONDAY - 1) == View::NONE, "{pause:?}");
        // Over, but not taken out yet.
        assert!(!clients.is_trivial() && clients.view(0, MONDAY) == View::ALL, "{pause:?}");
        clients.resume(pause).unwrap();
    }
    for groups in [
        vec![group("kids", &["10.0.0.0/8"], View::ALL, Vec::new())],
        vec![group(DEFAULT, &[], View::ALL.without(0), Vec::new())],
        vec![group(DEFAULT, &[], View::ALL, vec![row(0, 24, &[0], &[])])],
    ] {
        assert!(!Clients::new(&groups).is_trivial(), "{groups:?}");
    }
    assert!(Clients::new(&[group(DEFAULT, &[], View::ALL, Vec::new())]).is_trivial());
}

#[test]
fn what_was_ordered_stands_through_every_pause() {
    let mut clients = Clients::everyone();
    clients.pause(None, UnixSeconds::MAX).unwrap();
    let view = clients.view(0, MONDAY);
    let mut order = Order::new("x");
    order.authority.kind = IssuerKind::Operator;
    assert!(!view.includes(0, &order));
    for kind in [IssuerKind::Court, IssuerKind::LawEnforcement, IssuerKind::Registry] {
        order.authority.kind = kind;
        assert!(view.includes(0, &order), "{kind:?}");
    }
}

#[test]
fn an_unknown_group_is_named_with_its_neighbour() {
    let mut clients = Clients::new(&[group("kids", &["10.0.0.0/8"], View::ALL, Vec::new())]);
    for (name, expected) in [
        ("kid", "there is no group of clients \"kid\": did you mean \"kids\"?"),
        ("defualt", "there is no group of clients \"defualt\": did you mean \"default\"?"),
        ("servers", "there is no group of clients \"servers\""),
    ] {
        assert_eq!(clients.pause(Some(name), MONDAY).unwrap_err().to_string(), expected);
        assert_eq!(clients.resume(Some(name)).unwrap_err().to_string(), expected);
    }
    assert!(clients.is_paused_like(&Clients::new(&[group("kids", &[], View::ALL, Vec::new())])));
}
