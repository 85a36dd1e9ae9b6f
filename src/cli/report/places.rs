//! Where clients are, as far as local files in MaxMind's format (MMDB) tell: the number of their network (ASN), country, region, city.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use maxminddb::{MaxMindDbError, Reader};
use serde::Deserialize;

use crate::problem::Problem;

/// What to do about a file that cannot be used.
const HINT: &str = "the report goes on without it; name MMDB files in evidence.mmdb, or with --mmdb FILE";

/// Files, the first of which that knows something is believed.
#[derive(Default)]
pub(super) struct Places {
    files: Vec<File>,
    /// Who was looked up last, for sightings of one client stand together.
    last: Option<(IpAddr, Place)>,
    /// Files that could not be opened.
    unusable: Vec<Problem>,
}

/// A file.
struct File {
    path: PathBuf,
    reader: Reader<Vec<u8>>,
    /// Look-ups that failed, and why the first of them did.
    failed: Option<(u64, String)>,
}

/// Where a client is; empty is what nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the autonomous system.
    pub(super) asn: Option<u32>,
    /// The country, by the two letters of ISO 3166-1.
    pub(super) country: String,
    /// The largest part of the country that is known, in English.
    pub(super) region: String,
    /// The city, in English.
    pub(super) city: String,
}

/// What files say of a network, as GeoLite2 and those that follow it name it; a file may have any of it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry<'e> {
    /// Of files of networks.
    autonomous_system_number: Option<u32>,
    /// Of files of countries and cities.
    #[serde(borrow)]
    country: Country<'e>,
    /// From the largest part to the smallest.
    #[serde(borrow)]
    subdivisions: Vec<Named<'e>>,
    /// Of files of cities.
    #[serde(borrow)]
    city: Named<'e>,
}

/// A country.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Country<'e> {
    /// Its two letters.
    iso_code: Option<&'e str>,
}

/// Something with names.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named<'e> {
    /// By language.
    #[serde(borrow)]
    names: Names<'e>,
}

/// Names by language.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Names<'e> {
    /// The English one.
    en: Option<&'e str>,
}

impl Places {
    /// Reads files. One that is not there, or is no such file, tells nothing and is a problem.
    pub(super) fn read(paths: &[PathBuf]) -> Places {
        let mut places = Places::default();
        for path in paths {
            match Reader::open_readfile(path) {
                Ok(reader) => places.files.push(File { path: path.clone(), reader, failed: None }),
                Err(MaxMindDbError::Io(error)) => {
                    places.unusable.push(problem(path, &format!("cannot be read: {error}")));
                }
                Err(error) => {
                    places.unusable.push(problem(path, &format!("is no MMDB file, or damaged: {error}")));
                }
            }
        }
        places
    }

    /// Where a client is.
    pub(super) fn of(&mut self, client: IpAddr) -> Place {
        if let Some((addr, place)) = &self.last
            && *addr == client
        {
            return place.clone();
        }
        let mut place = Place::default();
        for file in &mut self.files {
            if let Err(error) = file.tell(client, &mut place) {
                file.failed.get_or_insert_with(|| (0, error.to_string())).0 += 1;
            }
        }
        self.last = Some((client, place.clone()));
        place
    }

    /// What was wrong with files, when all is looked up.
    pub(super) fn problems(self) -> Vec<Problem> {
        let failed = self.files.into_iter().filter_map(|file| {
            let (count, why) = file.failed?;
            Some(problem(&file.path, &format!("{count} look-ups failed, the first of them: {why}")))
        });
        self.unusable.into_iter().chain(failed).collect()
    }
}

impl File {
    /// Puts what is said of a client into what nobody has said yet.
    fn tell(&self, client: IpAddr, place: &mut Place) -> Result<(), MaxMindDbError> {
        // A file of IPv4 alone says nothing of others.
        if client.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(());
        }
        let Some(entry) = self.reader.lookup(client)?.decode::<Entry<'_>>()? else { return Ok(()) };
        place.asn = place.asn.or(entry.autonomous_system_number);
        let region = entry.subdivisions.first().and_then(|region| region.names.en);
        for (known, said) in [
            (&mut place.country, entry.country.iso_code),
            (&mut place.region, region),
            (&mut place.city, entry.city.names.en),
        ] {
            if known.is_empty() {
                known.push_str(said.unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// A problem with a file.
fn problem(path: &Path, what: &str) -> Problem {
    Problem::error(path.display().to_string(), None, what).hint(HINT)
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "tests of the program have it too")]
#[path = "../../../tests/support/mmdb.rs"]
mod mmdb;

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::mmdb::mmdb;
    use super::*;

    /// An entry with English names.
    fn named(name: &str) -> Value {
        json!({"names": {"en": name, "de": "x"}})
    }

    #[test]
    fn the_first_file_that_knows_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = |number: u32| json!({"autonomous_system_number": number, "unheard_of": "x"});
        let country = |code: &str| json!({"iso_code": code});
        let city = json!({
            "country": country("ZZ"),
            "subdivisions": [named("Largest"), named("Smaller")],
            "city": named("Say \"City\""),
        });
        let files = [
            ("asn.mmdb", mmdb(4, &[("192.0.2.0/24", numbers(64_500))])),
            (
                "city.mmdb",
                mmdb(6, &[("192.0.2.0/25", city), ("2001:db8::/32", json!({"country": country("YY")}))]),
            ),
            ("more.mmdb", mmdb(6, &[("192.0.0.0/16", numbers(64_501)), ("2001:db8::/48", numbers(64_502))])),
        ];
        let paths = files.map(|(name, octets)| {
            let path = folder.path().join(name);
            fs::write(&path, octets).unwrap();
            path
        });
        let mut places = Places::read(&paths);
        for (client, asn, country, region, city) in [
            ("192.0.2.1", Some(64_500), "ZZ", "Largest", "Say \"City\""),
            ("192.0.2.1", Some(64_500), "ZZ", "Largest", "Say \"City\""),
            ("192.0.2.200", Some(64_500), "", "", ""),
            ("192.0.3.1", Some(64_501), "", "", ""),
            ("2001:db8::1", Some(64_502), "YY", "", ""),
            ("2001:db8:1::1", None, "YY", "", ""),
            ("198.51.100.1", None, "", "", ""),
        ] {
            let [country, region, city] = [country, region, city].map(str::to_owned);
            assert_eq!(places.of(client.parse().unwrap()), Place { asn, country, region, city }, "{client}");
        }
        assert_eq!(places.problems(), []);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_said_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let good = mmdb(4, &[("192.0.2.0/24", json!({"autonomous_system_number": 7}))]);
        let wrong = mmdb(4, &[("192.0.2.0/24", json!({"city": "a text"}))]);
        let cut = good[good.len() / 2..].to_vec();
        let paths = [
            ("gone", None),
            ("empty", Some(vec![])),
            ("cut", Some(cut)),
            ("wrong", Some(wrong)),
            ("good", Some(good)),
        ];
        let paths = paths.map(|(name, octets)| {
            let path = folder.path().join(name);
            octets.into_iter().for_each(|octets| fs::write(&path, octets).unwrap());
            path
        });
        let mut places = Places::read(&paths);
        for client in ["192.0.2.1", "192.0.2.2"] {
            assert_eq!(places.of(client.parse().unwrap()).asn, Some(7));
        }
        let problems = places.problems();
        let said: Vec<(&str, &str)> = problems
            .iter()
            .map(|problem| (problem.file.rsplit('/').next().unwrap(), problem.message.as_str()))
            .collect();
        for ((file, said), (name, words)) in said.iter().zip([
            ("gone", "cannot be read: No such file"),
            ("empty", "is no MMDB file, or damaged: "),
            ("cut", "is no MMDB file, or damaged: "),
            ("wrong", "2 look-ups failed, the first of them: "),
        ]) {
            assert!(*file == name && said.starts_with(words), "{file}: {said}");
        }
        assert_eq!(said.len(), 4, "{said:?}");
    }
}
