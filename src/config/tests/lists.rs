//! `[[lists]]`, as tables.

use super::*;
use crate::orders::lists::{Format, ListSpec};
use crate::orders::rpz::{ActionOverride, Wildcards};
use crate::policy::{Action, IssuerKind, MatchKind};

/// A public key, of the documentation of minisign.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// The one list that these lines make.
fn list(lines: &str) -> ListSpec {
    let case = Case::new(&format!("[orders]\nstate = 'state'\n[[lists]]\n{lines}"), &[]);
    let lists = case.load().orders.settings.lists;
    assert_eq!(lists.len(), 1);
    let mut list = lists[0].clone();
    if let Ok(path) = list.path.strip_prefix(case.dir.path()) {
        list.path = path.to_path_buf();
    }
    list
}

#[test]
fn a_list_is_read_as_it_is_meant() {
    let plain = list("name = 'ads'\nsource = 'lists/ads.txt'");
    let source = plain.source.clone();
    assert!(source.ends_with("sinkscope.toml:3"), "{source}");
    assert_eq!(plain, ListSpec { source, ..ListSpec::new("ads", "lists/ads.txt") });
    assert_eq!((plain.action, plain.authority, plain.ttl_s), (Action::SINKHOLE, IssuerKind::Operator, 10));
    assert!(plain.sinkhole.v4[0].is_unspecified() && plain.sinkhole.v6[0].is_unspecified());

    let all = list(
        "name = 'a-1_b.c'\nsource = '/etc/x'\nformat = 'domains'\nmatch = 'subtree-below'\nkind = 'user'\n\
         action = 'sinkhole'\naddresses = ['192.0.2.1', '2001:db8::1']\nttl = '1m'\nfamily = ' ads '\n\
         allow_public_suffix = true\nmin_entries = 7\nallow_shrink = true",
    );
    assert_eq!((all.format, all.kind), (Some(Format::Domains), Some(MatchKind::SubtreeBelow)));
    assert_eq!(
        (all.authority, all.ttl_s, all.family.as_deref(), all.min_entries),
        (IssuerKind::User, 60, Some("ads"), 7)
    );
    assert_eq!((all.sinkhole.v4.len(), all.sinkhole.v6.len()), (1, 1));
    assert_eq!((all.allow_public_suffix, all.allow_shrink, all.path.to_str()), (true, true, Some("/etc/x")));
    assert_eq!(list("name='a'\nsource='a'\nttl=3600\nallow_long_ttl=true").ttl_s, 3600);
    assert!(list("name='a'\nsource='a'\naddresses=['192.0.2.1']").sinkhole.v6.is_empty());
    for action in ["nodata", "nxdomain", "refused", "drop", "tcp-only", "observe", "passthru"] {
        assert_eq!(list(&format!("name='a'\nsource='a'\naction='{action}'")).action.as_str(), action);
    }
    for format in Format::ALL {
        let kind = if format.needs_match() { "match='exact'" } else { "" };
        assert_eq!(list(&format!("name='a'\nsource='a'\nformat='{format}'\n{kind}")).format, Some(format));
    }
}

#[test]
fn lists_that_are_fetched() {
    let fetched = list("name = 'ads'\nsource = 'https://lists.example/ads?x=1'");
    assert_eq!(fetched.path.to_str(), Some("state/lists/ads.list"));
    let fetch = fetched.fetch.unwrap();
    assert_eq!((fetch.url.as_str(), fetch.refresh.as_secs()), ("https://lists.example/ads?x=1", 86_400));
    assert_eq!((fetch.max_octets, fetch.sha256, fetch.minisign_key), (256 << 20, None, None));
    let digest = "00ff".repeat(16);
    let all = list(&format!(
        "name='a'\nsource='http://lists.example/'\nrefresh='12h'\nmax_size='1MiB'\nsha256='{digest}'\n\
         minisign_key='{KEY}'\nbootstrap=['192.0.2.1', '2001:db8::1']"
    ));
    let fetch = all.fetch.unwrap();
    assert_eq!((fetch.refresh.as_secs(), fetch.max_octets, fetch.bootstrap.len()), (43_200, 1 << 20, 2));
    assert_eq!(
        (fetch.sha256.unwrap()[..3].to_vec(), fetch.minisign_key.as_deref()),
        (vec![0, 255, 0], Some(KEY))
    );
    let nowhere = Case::new("[[lists]]\nname='a'\nsource='https://lists.example/'", &[]).load();
    assert_eq!(nowhere.orders.settings.lists[0].path.to_str(), Some(""), "there is no folder for state");
    let open = Case::new("[[lists]]\nname='a'\nsource='http://lists.example/'", &[]).load();
    assert_eq!(open.warnings[0].line, Some(3));
    assert_eq!(open.warnings[0].message, "`lists[0].source` can be changed by anybody on the way");
}

#[test]
fn response_policy_zones() {
    let rpz = list("name='a'\nsource='a'\nformat='rpz'").rpz;
    assert_eq!((rpz.wildcards, rpz.break_dnssec, rpz.without_rd), (Wildcards::Draft, true, true));
    let rpz =
        list("name='a'\nsource='a'\nformat='rpz'\nwildcards='unbound'\nbreak_dnssec=false\nwithout_rd=false")
            .rpz;
    assert_eq!((rpz.wildcards, rpz.break_dnssec, rpz.without_rd), (Wildcards::Unbound, false, false));
    // What lets listed names through is said.
    for (lines, warned) in [
        ("", &[][..]),
        ("break_dnssec=true\nwithout_rd=true", &[]),
        (
            "break_dnssec=false",
            &["`lists[0].break_dnssec` lets listed names be told: signatures are not validated"],
        ),
        (
            "\nwithout_rd=false",
            &["`lists[0].without_rd` lets listed names be told to whoever asks without RD"],
        ),
    ] {
        let lines = format!("[[lists]]\nname='a'\nsource='a'\nformat='rpz'\n{lines}");
        let warnings = Case::new(&lines, &[]).load().warnings;
        assert_eq!(warnings.len(), warned.len(), "{warnings:?}");
        assert!(
            warnings.iter().zip(warned).all(|(found, what)| found.message.starts_with(what)),
            "{warnings:?}"
        );
        assert!(warnings.iter().all(|found| found.line.is_some()), "{warnings:?}");
    }
    assert_eq!(list("name='a'\nsource='a'\nwildcards='closest'").rpz.wildcards, Wildcards::Closest);
    assert_eq!(rpz.origin, None);
    let origin = list("name='a'\nsource='a'\nformat='rpz'\norigin='RPZ.example.'").rpz.origin;
    assert_eq!(origin, "rpz.example".parse().ok());
    let target = "garden.example".parse().unwrap();
    for (word, expected) in [
        ("given", ActionOverride::Given),
        ("disabled", ActionOverride::Action(Action::Observe)),
        ("nxdomain", ActionOverride::Action(Action::NXDOMAIN)),
        ("nodata", ActionOverride::Action(Action::NODATA)),
        ("passthru", ActionOverride::Action(Action::Passthru)),
        ("drop", ActionOverride::Action(Action::DROP)),
        ("tcp-only", ActionOverride::Action(Action::TCP_ONLY)),
        ("local-data-or-passthru", ActionOverride::LocalDataOrPassthru),
        ("local-data-or-disabled", ActionOverride::LocalDataOrDisabled),
        ("cname:garden.example", ActionOverride::Cname { target, prepend: false }),
        ("cname:*.garden.example.", ActionOverride::Cname { target, prepend: true }),
    ] {
        let lines = format!("name='a'\nsource='a'\nformat='rpz'\noverride='{word}'");
        assert_eq!(list(&lines).rpz.action_override, expected, "{word}");
    }
}

#[test]
fn what_is_wrong_with_lists() {
    let a = "name='a'\nsource='a'\n";
    let url = "name='a'\nsource='https://x.example/'\n";
    for (lines, line, expected) in [
        ("source='a'", 1, "`lists[0]` does not fit: missing field `name`"),
        ("name='a'", 1, "`lists[0]` does not fit: missing field `source`"),
        (&format!("{a}formt='hosts'"), 4, "unknown key `lists[0].formt`\n  hint: did you mean `format`?"),
        (&format!("{a}format='hots'"), 4, "`lists[0]` does not fit: unknown variant `hots`"),
        ("name='a b'\nsource='a'", 2, "`lists[0].name` is \"a b\"; expected a word\n"),
        ("name='.a'\nsource='a'", 2, "`lists[0].name` is \".a\"; expected a word\n"),
        ("name=''\nsource='a'", 2, "`lists[0].name` is \"\"; expected a word\n"),
        ("name='a'\nsource=''", 3, "`lists[0].source` is empty\n"),
        ("name='a'\nsource='ftp://x.example/'", 3, "`lists[0].source` is fetched by ftp://\n"),
        ("name='a'\nsource='file:///x'", 3, "`lists[0].source` is fetched by file://\n"),
        ("name='a'\nsource='https:///x'", 3, "`lists[0].source` is a URL without a host"),
        (
            "name='a'\nsource='https://u:p@x.example/'",
            3,
            "`lists[0].source` holds a password, which would end up in logs\n",
        ),
        (
            &format!("{a}format='hosts'"),
            4,
            "`lists[0].format` is \"hosts\", and nothing says what a name on the list covers\n",
        ),
        (
            &format!("{a}format='domains'"),
            4,
            "`lists[0].format` is \"domains\", and nothing says what a name on the list covers\n",
        ),
        (
            &format!("{a}format='dnsmasq'\nmatch='exact'"),
            5,
            "`lists[0].match` is there, but a list of format = \"dnsmasq\" says itself",
        ),
        (&format!("{a}ttl='1y'"), 4, "`lists[0].ttl` is \"1y\"; expected a length of time up to a week\n"),
        (
            &format!("{a}ttl=61"),
            4,
            "`lists[0].ttl` keeps names dark for 61 s after they are off the list; at most 60 s\n",
        ),
        (&format!("{a}addresses=['x']"), 4, "`lists[0].addresses[0]` is \"x\", which is no address\n"),
        (
            &format!("{a}action='drop'\naddresses=['192.0.2.1']"),
            5,
            "`lists[0].addresses` is there, but the action is not sinkhole\n",
        ),
        (&format!("{a}refresh='1d'"), 4, "`lists[0].refresh` is for lists that are fetched from a URL\n"),
        (&format!("{a}sha256='00'"), 4, "`lists[0].sha256` is for lists that are fetched from a URL\n"),
        (
            &format!("{url}refresh=59"),
            4,
            "`lists[0].refresh` is 59; expected a length of time from a minute to a year\n",
        ),
        (&format!("{url}max_size=0"), 4, "`lists[0].max_size` is no size\n"),
        (&format!("{url}sha256='00'"), 4, "`lists[0].sha256` is \"00\"\n"),
        (&format!("{url}minisign_key='RWx'"), 4, "`lists[0].minisign_key` is \"RWx\"\n"),
        (
            &format!("{url}bootstrap=['dns.example']"),
            4,
            "`lists[0].bootstrap[0]` is \"dns.example\", which is no address\n",
        ),
        (
            &format!("{a}format='adblock'\noverride='drop'"),
            5,
            "`lists[0].override` is for format = \"rpz\" only\n",
        ),
        (
            &format!("{a}format='rpz'\naction='drop'"),
            5,
            "`lists[0].action` is there, but a response policy zone says itself",
        ),
        (
            &format!("{a}override='nxdoman'"),
            4,
            "`lists[0].override` is \"nxdoman\"\n  hint: did you mean \"nxdomain\"? it is one of given, ",
        ),
        (
            &format!("{a}override='cname:a..b'"),
            4,
            "`lists[0].override` has the name \"a..b\": a label is empty",
        ),
        (&format!("{a}[[lists]]\n{a}"), 5, "`lists[1].name` is \"a\", which lists[0] is, too\n"),
    ] {
        let said = Case::new(&format!("[[lists]]\n{lines}"), &[]).problems();
        let expected = format!("error: sinkscope.toml:{line}: {expected}");
        assert!(said.starts_with(&expected), "{lines}\n{said}\n{expected}");
    }
    let said = Case::new("[lists]\nname = 'a'", &[]).problems();
    assert!(said.starts_with("error: sinkscope.toml:1: `lists` is not a list of tables"), "{said}");
}

#[test]
fn lists_stand_in_the_effective_configuration_and_are_zones_for_groups() {
    let text =
        "[[lists]]\nname = 'ads'\nsource = 'ads.txt'\n[[clients]]\nname = 'default'\nwithout = ['ads']\n";
    let case = Case::new(text, &[]);
    let config = case.load();
    let shown = config.effective.replace(&case.dir.path().display().to_string(), "DIR");
    assert!(shown.contains("[[lists]]") && shown.contains("source = \"DIR/ads.txt\""), "{shown}");
    let again = Case::new(&config.effective, &[]).load();
    let lists = |config: &Config| {
        config.orders.settings.lists.iter().map(|list| list.path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(lists(&again), lists(&config));
    assert!(!config.clients[0].view.has(1) && config.clients[0].view.has(0));
}
