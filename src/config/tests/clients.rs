//! `[[clients]]` and `[guard]`, as tables.

use super::*;
use crate::clients::{Clients, Group, Privacy};
use crate::iana::Rtype;

/// Monday, 2024-01-01 00:00 UTC.
const MONDAY: i64 = 1_704_067_200;
/// Three zones to choose from.
const ORDERS: &str = "[orders]\npaths = ['court/', 'malware', 'games.toml']\n";

#[test]
fn groups_are_read_as_they_are_meant() {
    for (clients, addr, hour, expected) in [
        ("", "10.0.0.1", 0, &[0, 1, 2][..]),
        ("[[clients]]\nname='kids'\naddresses=['10.0.0.0/8']", "10.0.0.1", 0, &[0, 1, 2]),
        ("[[clients]]\nname='kids'\naddresses=['10.0.0.0/8']\nzones=['malware']", "10.0.0.1", 0, &[1]),
        (
            "[[clients]]\nname='kids'\naddresses=['10.0.0.0/8']\nzones=['malware/', 'court']",
            "10.0.0.1",
            0,
            &[0, 1],
        ),
        ("[[clients]]\nname='kids'\naddresses=['10.0.0.0/8']\nzones=['malware']", "11.0.0.1", 0, &[0, 1, 2]),
        ("[[clients]]\nname='kids'\naddresses=['10.0.0.0/8']\nzones=[]", "10.0.0.1", 0, &[]),
        (
            "[[clients]]\nname='kids'\naddresses=['10.0.0.0/8']\nwithout=['games.toml']",
            "::ffff:10.0.0.1",
            0,
            &[0, 1],
        ),
        ("[[clients]]\nname='default'\nwithout=['games.toml']", "192.0.2.1", 0, &[0, 1]),
        (
            "[[clients]]\nname='default'\nwithout=['games.toml']\n[[clients]]\nname='kids'\naddresses=['10.0.0.1']",
            "10.0.0.1",
            0,
            &[0, 1, 2],
        ),
    ] {
        check(clients, addr, hour, expected);
    }
    let kids =
        "[[clients]]\nname='kids'\naddresses=['10.0.0.0/8']\nwithout=['games.toml']\n[[clients.schedule]]\n";
    for (row, hour, expected) in [
        ("from='08:00'\nuntil='14:00'\ntime_zone='UTC'\nalso=['games.toml']", 7, &[0, 1][..]),
        ("from='08:00'\nuntil='14:00'\ntime_zone='UTC'\nalso=['games.toml']", 8, &[0, 1, 2]),
        ("from='08:00'\nuntil='14:00'\ntime_zone='UTC'\nalso=['games.toml']\nwithout=['court']", 8, &[1, 2]),
        ("from='08:00'\nuntil='14:00'\ntime_zone='Europe/Berlin'\nalso=['games.toml']", 7, &[0, 1, 2]),
        ("days=['mon','tue']\ntime_zone='UTC'\nalso=['games.toml']", 47, &[0, 1, 2]),
        ("days=['mon','tue']\ntime_zone='UTC'\nalso=['games.toml']", 48, &[0, 1]),
        ("days=['sun']\nfrom='22:00'\nuntil='06:00'\ntime_zone='UTC'\nwithout=['malware']", 5, &[0]),
        ("until='24:00'\ntime_zone='UTC'\nwithout=['malware']", 23, &[0]),
    ] {
        check(&format!("{kids}{row}"), "10.0.0.1", hour, expected);
    }
}

/// Which zones apply to whom at an hour of that Monday.
fn check(clients: &str, addr: &str, hour: i64, expected: &[u16]) {
    let config = Case::new(&format!("{ORDERS}{clients}"), &[]).load();
    let built = Clients::new(&config.clients);
    let view = built.view(built.group_of(addr.parse().unwrap()), MONDAY + hour * 3600);
    let zones: Vec<u16> = (0..3).filter(|zone| view.has(*zone)).collect();
    assert_eq!(zones, expected, "{clients} {addr} {hour}");
}

#[test]
fn groups_are_told_nothing_of_what_they_filter() {
    let groups = "[[clients]]\nname='v4'\naddresses=['10.0.0.0/8']\nfilter=['aaaa', 'HTTPS', 'AAAA', 'TYPE64']\n\
                  [[clients]]\nname='default'\nfilter=['HTTPS']\n";
    let read = Case::new(groups, &[]).load().clients;
    assert_eq!(read[0].filter, [Rtype::AAAA, Rtype::HTTPS, Rtype::SVCB], "each once");
    let clients = Clients::new(&read);
    for (addr, qtype, expected) in [
        ("10.0.0.1", Rtype::AAAA, true),
        ("::ffff:10.0.0.1", Rtype::AAAA, true),
        ("10.0.0.1", Rtype::A, false),
        ("192.0.2.1", Rtype::AAAA, false),
        ("192.0.2.1", Rtype::HTTPS, true),
    ] {
        assert_eq!(clients.filters(addr.parse().unwrap(), qtype), expected, "{addr} {qtype}");
    }
    assert!(!clients.filters_nothing() && Clients::everyone().filters_nothing());
}

#[test]
fn problems_with_groups_name_their_place_and_what_to_do() {
    for (clients, expected) in [
        (
            "clients = 3",
            "sinkscope.toml:1: `clients` is not a list of tables\n  hint: write [[clients]] on a line",
        ),
        ("[clients]\nname = 'kids'", "sinkscope.toml:1: `clients` is not a list of tables"),
        (
            "[[client]]\nname = 'kids'",
            "sinkscope.toml:1: unknown key `client`\n  hint: did you mean `clients`?",
        ),
        (
            "[[clients]]\nname = 'kids'\naddress = ['10.0.0.1']",
            "sinkscope.toml:3: unknown key `clients[0].address`\n  hint: did you mean `addresses`?",
        ),
        (
            "[[clients]]\naddresses = ['10.0.0.1']",
            "sinkscope.toml:1: `clients[0]` does not fit: missing field `name`",
        ),
        ("[[clients]]\nname = 3", "sinkscope.toml:2: `clients[0]` does not fit: invalid type: integer `3`"),
        (
            "[[clients]]\nname = 'a'\naddresses = ['10.0.0.1']\n[[clients]]\nname = 'b'\naddresses = '10.0.0.2'",
            "sinkscope.toml:6: `clients[1]` does not fit: invalid type: string",
        ),
        ("[[clients]]\nname = ''", "sinkscope.toml:2: `clients[0].name` is \"\"; expected a name"),
        ("[[clients]]\nname = 'kids'", "sinkscope.toml:1: `clients[0]` is a group without addresses"),
        (
            "[[clients]]\nname = 'kids'\naddresses = [\n'10.0.0.1',\n'10.0.0.1/8']",
            "sinkscope.toml:5: `clients[0].addresses[1]` is \"10.0.0.1/8\", which has bits set behind its prefix",
        ),
        (
            "[[clients]]\nname = 'kids'\naddresses = ['private']",
            "`clients[0].addresses[0]` is \"private\", which is no address and no network",
        ),
        (
            "[[clients]]\nname='a'\naddresses=['10.0.0.0/8']\n[[clients]]\nname='b'\naddresses=['::ffff:10.0.0.0/104']",
            "sinkscope.toml:6: `clients[1].addresses[0]` is in the group \"a\" already",
        ),
        (
            "[[clients]]\nname='a'\naddresses=['10.0.0.1']\n[[clients]]\nname='a'\naddresses=['10.0.0.2']",
            "sinkscope.toml:5: `clients[1].name` is \"a\", which clients[0] is, too",
        ),
        (
            "[[clients]]\nname='default'\nzones=['blocklist']",
            "sinkscope.toml:3: `clients[0].zones[0]` is \"blocklist\", which is no zone\n  hint: did you mean \"blocklists\"?",
        ),
        (
            "[[clients]]\nname='default'\nwithout=['x']",
            "which is no zone\n  hint: zones are the entries of `orders.paths`: \"blocklists\"",
        ),
        (
            "[[clients]]\nname='default'\nzones=[]\nwithout=[]",
            "sinkscope.toml:4: `clients[0].without` is there beside `zones`",
        ),
        (
            "[[clients]]\nname='default'\n[[clients.schedule]]\ntime_zone='UTC'",
            "sinkscope.toml:3: `clients[0].schedule[0]` changes nothing",
        ),
        (
            "[[clients]]\nname='default'\n[[clients.schedule]]\nalso=['blocklists']",
            "sinkscope.toml:3: `clients[0]` does not fit: missing field `time_zone`",
        ),
        (
            "[[clients]]\nname='default'\n[[clients.schedule]]\nalso=['blocklists']\ntime_zone='Europe/Berln'",
            "sinkscope.toml:5: `clients[0].schedule[0].time_zone` is \"Europe/Berln\", which is no time zone\n  \
             hint: did you mean \"Europe/Berlin\"?",
        ),
        (
            "[[clients]]\nname='default'\n[[clients.schedule]]\nalso=['blocklists']\ntime_zone='UTC'\nfrom='25:00'",
            "sinkscope.toml:6: `clients[0].schedule[0].from` is \"25:00\"; expected a time of day",
        ),
        (
            "[[clients]]\nname='default'\n[[clients.schedule]]\nalso=['x']\ntime_zone='UTC'\nfrom='07:00'\nuntil='7:00'",
            "sinkscope.toml:6: `clients[0].schedule[0].from` is when it ends",
        ),
        (
            "[[clients]]\nname='default'\n[[clients.schedule]]\nalso=['x']\ntime_zone='UTC'\nfrom='24:00'\nuntil='7:00'",
            "`clients[0].schedule[0].from` is when it ends",
        ),
        (
            "[[clients]]\nname='default'\n[[clients.schedule]]\ndays=['monday']\ntime_zone='UTC'",
            "sinkscope.toml:4: `clients[0]` does not fit: unknown variant `monday`, expected one of `mon`",
        ),
        (
            "[[clients]]\nname='default'\n[[clients.schedule]]\ndays=[]\ntime_zone='UTC'\nalso=['blocklists']",
            "sinkscope.toml:4: `clients[0].schedule[0].days` names no day",
        ),
        (
            "[[clients]]\nname='default'\nfilter=[\n'AAAA',\n'AAAAA']",
            "sinkscope.toml:5: `clients[0].filter[1]` is \"AAAAA\", which is no type\n  hint: write \"AAAA\"",
        ),
        (
            "[[clients]]\nname='default'\nfilter=['OPT']",
            "`clients[0].filter[0]` is \"OPT\", which is no type of data",
        ),
        ("[guard]\ncanary_interval = 90000", "`guard.canary_interval` is 90000; expected 0 to 86400"),
        (
            "[[clients]]\nname='default'\nevidence='some'",
            "unknown variant `some`, expected one of `full`, `prefix`, `pseudonym`, `none`",
        ),
        ("[evidence]\non = true", "`evidence.on` is set, and there is no state folder to keep it in"),
        ("[evidence]\nflush = 0", "`evidence.flush` is 0; expected 1 to 3600"),
        ("[evidence]\nkeep = 4000", "`evidence.keep` is 4000; expected 1 to 3650"),
        ("[evidence]\nmax_size = 100", "`evidence.max_size` is too small to be of use"),
        ("[evidence]\nmemory = '1KiB'", "`evidence.memory` is too small to be of use"),
        ("[guard]\nrecent = 2000000", "`guard.recent` is 2000000; expected 0 to 1048576"),
    ] {
        let problems = Case::new(clients, &[]).problems();
        assert!(problems.contains(expected), "{clients}: {expected}\nin: {problems}");
    }
}

#[test]
fn a_translator_has_a_prefix() {
    let read = |text: &str| {
        Case::new(&format!("[[clients]]\nname='v6'\naddresses=['2001:db8::/32']\n[dns64]\n{text}"), &[])
            .load()
    };
    assert_eq!(read("groups=['v6']").dns64, None);
    let config =
        read("prefix='2001:db8:64::/48'\ngroups=['v6', 'default']\nexclude=['::ffff:0:0/96', '2001:db8::7']");
    let dns64 = config.dns64.unwrap();
    assert_eq!((dns64.prefix.bits(), &dns64.groups[..]), (48, &["v6".to_owned(), "default".to_owned()][..]));
    assert_eq!(dns64.exclude.iter().map(|prefix| prefix.bits()).collect::<Vec<_>>(), [96, 128]);
    // What is made by it is judged as what it is made of.
    let forms = config.orders.settings.nat64.forms("2001:db8:64:c000:2:100::".parse().unwrap());
    assert!(forms.into_iter().any(|form| form == std::net::IpAddr::from([192, 0, 2, 1])));
    assert_eq!(read("prefix='64:ff9b::/96'").dns64.unwrap().exclude, [crate::dns::dns64::MAPPED]);
    for (text, expected) in [
        ("prefix='64:ff9b::/97'", "`dns64.prefix` is \"64:ff9b::/97\", which is no prefix of a translator"),
        ("prefix='2001:db8:0:0:100::/96'", "which is no prefix of a translator\n  hint: write one of /32"),
        ("prefix='2001:db8::1/96'", "which is no prefix of a translator"),
        ("prefix='192.0.2.0/24'", "which is no prefix of a translator"),
        ("prefix='64:ff9b::/96'\ngroups=['v4']", "`dns64.groups[0]` is \"v4\", which is no group of clients"),
        ("exclude=['10.0.0.0/8']", "`dns64.exclude[0]` is \"10.0.0.0/8\", which is no prefix of IPv6"),
    ] {
        let problems = Case::new(&format!("[dns64]\n{text}"), &[]).problems();
        assert!(problems.contains(expected), "{text}: {problems}");
    }
}

#[test]
fn more_than_can_be_told_apart_is_refused() {
    let paths: Vec<String> = (0..257).map(|number| format!("'p{number}'")).collect();
    let orders = |count: usize| format!("[orders]\npaths = [{}]\n", paths[..count].join(", "));
    let group = "[[clients]]\nname = 'default'\nwithout = ['p255']\n";
    assert_eq!(Case::new(&format!("{}{group}", orders(256)), &[]).load().clients.len(), 1);
    let problems = Case::new(&format!("{}{group}", orders(257)), &[]).problems();
    assert!(problems.contains("sinkscope.toml:3: `clients` cannot tell 257 zones apart"), "{problems}");
    assert!(Case::new(&orders(257), &[]).load().clients.is_empty());

    let row = "[[clients.schedule]]\ntime_zone = 'UTC'\nalso = ['p0']\n";
    let problems = Case::new(&format!("{}{group}{}", orders(256), row.repeat(33)), &[]).problems();
    assert!(problems.contains("`clients[0].schedule` has more than 32 rows"), "{problems}");
}

#[test]
fn the_groups_in_effect_are_a_configuration() {
    let clients = "[[clients]]\nname = 'kids'\naddresses = ['10.0.0.0/8']\nzones = ['malware']\n\
                   [[clients.schedule]]\ndays = ['mon']\nfrom = '08:00'\ntime_zone = 'Europe/Berlin'\nalso = ['court']\n\
                   [[clients]]\nname = 'default'\nwithout = ['court/']\n";
    let first = Case::new(&format!("{ORDERS}{clients}"), &[]).load();
    assert!(first.effective.contains("sinkscope.toml:3\n"), "{}", first.effective);
    // Elsewhere, too: the paths of zones are the paths of the orders.
    let second = Case::new(&first.effective, &[]).load();
    assert_eq!(first.clients, second.clients);
    let names = |groups: &[Group]| groups.iter().map(|group| group.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&second.clients), ["kids", "default"]);
}

#[test]
fn how_harm_is_noticed_can_be_switched_off() {
    for (file, interval_s, recent) in
        [("", 30, 16_384), ("[guard]\ncanary_interval = 0\nrecent = 0", 0, 0), ("[guard]\nrecent = 7", 30, 7)]
    {
        let guard = Case::new(file, &[]).load().guard;
        assert_eq!((guard.canary_interval.as_secs(), guard.recent), (interval_s, recent), "{file}");
    }
}

#[test]
fn how_much_of_whom_is_kept_in_evidence() {
    let config = Case::new("", &[]).load();
    assert_eq!(
        (config.evidence.on, config.evidence.privacy, config.evidence.keep_days),
        (false, Privacy::Prefix, 90)
    );
    assert!(config.evidence.mmdb.is_empty());
    let text = "[orders]\nstate = 'state'\n[evidence]\non = true\nprivacy = 'full'\nmmdb = ['asn.mmdb', '/city.mmdb']\n\
        [[clients]]\nname = 'staff'\naddresses = ['10.0.0.0/8']\nevidence = 'none'\n[[clients]]\nname = 'default'\n";
    let config = Case::new(text, &[]).load();
    let clients = Clients::new(&config.clients);
    assert_eq!((config.evidence.on, config.evidence.privacy), (true, Privacy::Full));
    // Relative to the configuration's folder, as all paths in it.
    let [beside, elsewhere] = &config.evidence.mmdb[..] else { panic!("{:?}", config.evidence.mmdb) };
    assert!(beside.is_absolute() && beside.ends_with("asn.mmdb"), "{beside:?}");
    assert_eq!(elsewhere, Path::new("/city.mmdb"));
    assert_eq!(clients.privacy("10.0.0.7".parse().unwrap()), Some(Privacy::None));
    assert_eq!(clients.privacy("192.0.2.7".parse().unwrap()), None);
}

#[test]
fn the_groups_of_the_example_file_work_once_they_are_uncommented() {
    let example = include_str!("../../../sinkscope.example.toml");
    let groups = example.find("# [[clients]]").unwrap();
    let lines = example[groups..].lines().map(|line| line.strip_prefix('#').unwrap_or(line));
    let text: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let paths = "[orders]\npaths = ['blocklists/', 'adult.toml', 'games.toml']\n";
    let config = Case::new(&format!("{paths}{}", text.join("\n")), &[]).load();
    let clients = Clients::new(&config.clients);
    // A Monday in winter: 21:00 in Berlin is 20:00 UTC.
    for (addr, at, expected) in [
        ("192.168.1.77", MONDAY + 20 * 3600 - 1, [true, true, false]),
        ("192.168.1.77", MONDAY + 20 * 3600, [true, true, true]),
        ("192.168.1.77", MONDAY + 30 * 3600, [true, true, false]),
        ("192.168.1.2", MONDAY, [true, false, true]),
    ] {
        let view = clients.view(clients.group_of(addr.parse().unwrap()), at);
        assert_eq!([0, 1, 2].map(|zone| view.has(zone)), expected, "{addr} {at}");
    }
}

#[test]
fn one_bad_group_is_told_of_alone() {
    let problems = Case::new("[[clients]]\nname = 3\n[[clients]]\nname = 'b'", &[]).problems();
    assert_eq!(problems.matches("error: ").count(), 1, "{problems}");
}
