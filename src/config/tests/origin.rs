//! Whose what is cached is, over restarts: what one configuration takes of another.

use super::*;

/// Everybody's, and that of kids.
fn origins(file: &str) -> [crate::cache::Origin; 2] {
    let config = Case::new(file, &[]).load();
    [config.origin(&[]), config.origin(&["kids".to_owned()])]
}

/// A configuration that asks these servers, with more in front and behind.
fn asking(servers: &str, upstream: &str, more: &str) -> String {
    format!(
        "[upstream]\nservers = [{servers}]\n{upstream}\n{more}\n[[clients]]\nname = 'kids'\naddresses = ['192.0.2.9']\n\
         [[forward]]\nzones = ['lan']\nservers = ['192.168.1.1']\n\
         [[forward]]\ngroups = ['kids']\nservers = ['192.0.2.3']\n"
    )
}

#[test]
fn what_others_said_or_was_taken_by_other_rules_is_not_taken() {
    let before = asking("'192.0.2.1', '192.0.2.2'", "", "");
    let rebinding = "[rebinding]\nallow = ['a.example']";
    // Another configuration; whether it takes what everybody's cache held, and what that of kids did.
    for (after, everybodys, of_kids) in [
        (before.clone(), true, true),
        (asking("'192.0.2.2', '192.0.2.1'", "", ""), true, true),
        (asking("'192.0.2.1', '192.0.2.2', 'tls://192.0.2.1'", "strategy = 'fastest'", ""), true, true),
        (
            asking(
                "'192.0.2.1', '192.0.2.2'",
                "try_timeout_ms = 700",
                "[cache]\nsize = '1MiB'\nmax_stale = 7",
            ),
            true,
            true,
        ),
        (asking("'192.0.2.1', '192.0.2.2'", "", "[access]\nallow = ['loopback']"), true, true),
        (asking("'192.0.2.1'", "", ""), false, true),
        (asking("'192.0.2.1', 'tcp://192.0.2.2'", "", ""), false, true),
        (asking("'192.0.2.1', '192.0.2.2'", "trust_ad = true", ""), false, false),
        (asking("'192.0.2.1', '192.0.2.2'", "", "[cache]\nmin_ttl = 5"), false, false),
        (asking("'192.0.2.1', '192.0.2.2'", "", "[cache]\nnegative_max_ttl = 5"), false, false),
        (asking("'192.0.2.1', '192.0.2.2'", "", rebinding), false, false),
        (before.replace("'lan'", "'home'"), false, false),
        (before.replace("192.168.1.1", "192.168.1.2"), false, false),
        (before.replace("192.0.2.3", "192.0.2.4"), true, false),
        (
            format!("{before}[[forward]]\ngroups = ['kids']\nzones = ['x']\nservers = ['192.0.2.5']\n"),
            false,
            false,
        ),
    ] {
        let (then, now) = (origins(&before), origins(&after));
        let taken = [0, 1].map(|one: usize| now[one].takes(&then[one]));
        assert_eq!(taken, [everybodys, of_kids], "{after}");
        assert!(!now[0].takes(&then[1]) && !now[1].takes(&then[0]), "nobody takes what is another's");
        // A reload keeps all caches or none, by the same measure.
        let config = |file: &str| Case::new(file, &[]).load();
        let (then, now) = (config(&before), config(&after));
        let keeps = now.upstream.still_asks(&then.upstream)
            && now.cache.ttl == then.cache.ttl
            && now.rebinding == then.rebinding;
        assert_eq!(keeps, everybodys && of_kids, "{after}");
    }
}

#[test]
fn answers_are_kept_unless_somebody_says_otherwise() {
    for (file, on, every_s) in [
        ("", true, 300),
        ("[cache]\npersist = false", false, 300),
        ("[cache]\npersist = true\npersist_interval = 86400", true, 86_400),
        ("[cache]\npersist_interval = 1", true, 1),
    ] {
        let persist = Case::new(file, &[]).load().persist;
        assert_eq!((persist.on, persist.every.as_secs()), (on, every_s), "{file}");
    }
    let problems = Case::new("[cache]\npersist_interval = 0", &[]).problems();
    assert!(problems.contains("`cache.persist_interval` is 0; expected 1 to 86400"), "{problems}");
}
