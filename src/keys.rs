//! Keys nobody knows: a TOML document held against a JSON schema, and the nearest key that is known.
//!
//! Serde stops at the first unknown key and names no neighbour; operators deserve all of them, with a guess at what
//! was meant. The schema that `schemars` derives is the list of known keys, so that list cannot fall behind the types.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::Problem;

/// How many `$ref`s and alternatives one value's schema may lead through: a schema that refers to itself ends here.
const MAX_INDIRECTIONS: usize = 8;

/// A key that the schema does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// Where the key stands in the text, in octets.
    pub span: Range<usize>,
    /// The whole path to it, such as `upstream.server` or `scope[2].mach`.
    pub path: String,
    /// The known key that looks most like it, if one does.
    pub nearest: Option<String>,
    /// All keys known at that place, sorted.
    pub known: Vec<String>,
}

impl UnknownKey {
    /// The same for people: `text` is the document it was found in, `file` the document's name.
    pub fn to_problem(&self, file: &str, text: &str) -> Problem {
        let line = line_of(text, self.span.start);
        Problem::error(file, Some(line), format!("unknown key `{}`", self.path)).hint(self.hint())
    }

    /// What to write instead: the nearest key, else all that are known.
    pub fn hint(&self) -> String {
        match &self.nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if self.known.is_empty() => String::from("no keys are known here"),
            None => format!("known here: {}", self.known.join(", ")),
        }
    }
}

/// Every key in `document` that `schema` does not know, in the order of the text; below such a key nothing is checked.
///
/// `schema` is what `schemars` derives: `$ref` into the document itself, `properties`, `items`, `additionalProperties`,
/// `anyOf`, `oneOf`, `allOf`. An object that lists `properties` is closed unless it says `additionalProperties`.
/// Types of values are not checked: that is the deserializer's work.
pub fn unknown(document: &DeTable<'_>, schema: &Value) -> Vec<UnknownKey> {
    let mut found = Vec::new();
    Checker { root: schema }.table(document, schema, "", &mut found);
    found.sort_by_key(|key| key.span.start);
    found
}

/// The keys known to `schema` at `path` (a dotted list of keys from the root), sorted; none when nothing is there.
pub fn known_at(schema: &Value, path: &[&str]) -> Vec<String> {
    let checker = Checker { root: schema };
    let mut places = checker.alternatives(schema);
    for key in path {
        let below: Vec<&Value> =
            places.iter().filter_map(|place| place.get("properties")?.get(key)).collect();
        places = below.into_iter().flat_map(|place| checker.alternatives(place)).collect();
    }
    let mut known: Vec<String> =
        places.iter().flat_map(|place| properties(place)).map(String::from).collect();
    known.sort_unstable();
    known.dedup();
    known
}

/// Octets of the longest word that others are held against: comparing takes as long as both lengths multiplied, and nobody
/// mistypes what is longer.
const MAX_COMPARED: usize = 64;
/// Words that are looked at: enough for all that people give names to, and less than a tenth of a second at worst.
const MAX_KNOWN: usize = 4096;

/// The known word that looks most like `word`: case, `-` and `_` aside, within a third of its letters, or one that
/// starts with it. The time it takes is bounded, whatever the words.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > MAX_COMPARED {
        return None;
    }
    let folded = fold(word);
    let reach = 1 + folded.chars().count() / 3;
    known
        .into_iter()
        .take(MAX_KNOWN)
        .filter(|candidate| candidate.len() <= MAX_COMPARED)
        .filter_map(|candidate| {
            let other = fold(candidate);
            let far = other.chars().count().abs_diff(folded.chars().count()) > reach;
            if far && !other.starts_with(&folded) && !folded.starts_with(&other) {
                return None;
            }
            let distance = strsim::damerau_levenshtein(&folded, &other);
            let prefix = folded.len() >= 3 && (other.starts_with(&folded) || folded.starts_with(&other));
            (distance <= reach.min(other.chars().count().saturating_sub(1)) || prefix)
                .then_some((distance, candidate))
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The line, from 1, that octet `offset` of `text` stands on; an offset past the end is on the last line.
pub fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let breaks = before.iter().filter(|&&octet| octet == b'\n').count();
    u32::try_from(breaks + 1).unwrap_or(u32::MAX)
}

/// A walk over document and schema side by side.
struct Checker<'s> {
    /// The whole schema, into which `$ref`s point.
    root: &'s Value,
}

impl<'s> Checker<'s> {
    /// Checks a table's keys and what stands below them.
    fn table(&self, table: &DeTable<'_>, schema: &'s Value, path: &str, found: &mut Vec<UnknownKey>) {
        // Of several shapes that a table may have, the one that explains it best is the one that was meant.
        let best = self
            .alternatives(schema)
            .into_iter()
            .filter(|place| place.get("properties").is_some() || place.get("additionalProperties").is_some())
            .map(|place| {
                let mut unknown = Vec::new();
                self.table_as(table, place, path, &mut unknown);
                unknown
            })
            .min_by_key(Vec::len);
        // No shape of a table at all: the value has the wrong type, and the deserializer says so.
        found.extend(best.unwrap_or_default());
    }

    /// Checks a table against one object schema.
    fn table_as(&self, table: &DeTable<'_>, place: &'s Value, path: &str, found: &mut Vec<UnknownKey>) {
        for (key, value) in table.iter() {
            let name: &str = key.get_ref().as_ref();
            let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            let listed = place.get("properties").and_then(|properties| properties.get(name));
            match (listed, place.get("additionalProperties")) {
                (Some(schema), _) => self.value(value, schema, &path, found),
                (None, Some(Value::Bool(true))) => {}
                (None, Some(schema @ Value::Object(_))) => self.value(value, schema, &path, found),
                (None, _) => {
                    let mut known: Vec<String> = properties(place).map(String::from).collect();
                    known.sort_unstable();
                    let nearest = nearest(name, known.iter().map(String::as_str)).map(String::from);
                    found.push(UnknownKey { span: key.span(), path, nearest, known });
                }
            }
        }
    }

    /// Checks what stands behind a key.
    fn value(
        &self,
        value: &Spanned<DeValue<'_>>,
        schema: &'s Value,
        path: &str,
        found: &mut Vec<UnknownKey>,
    ) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, schema, path, found),
            DeValue::Array(array) => {
                let items = self.alternatives(schema).into_iter().find_map(|place| place.get("items"));
                let Some(items) = items else { return };
                for (index, value) in array.iter().enumerate() {
                    self.value(value, items, &format!("{path}[{index}]"), found);
                }
            }
            _ => {}
        }
    }

    /// The schemas without indirection that `schema` may mean: itself, what it refers to, its alternatives.
    fn alternatives(&self, schema: &'s Value) -> Vec<&'s Value> {
        let mut ends = Vec::new();
        self.follow(schema, MAX_INDIRECTIONS, &mut ends);
        ends
    }

    /// Collects the ends of all indirections from `schema`.
    fn follow(&self, schema: &'s Value, left: usize, ends: &mut Vec<&'s Value>) {
        let Some(left) = left.checked_sub(1) else { return };
        ends.push(schema);
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        if let Some(target) = target.and_then(|pointer| self.root.pointer(pointer)) {
            self.follow(target, left, ends);
        }
        for keyword in ["anyOf", "oneOf", "allOf"] {
            for alternative in schema.get(keyword).and_then(Value::as_array).into_iter().flatten() {
                self.follow(alternative, left, ends);
            }
        }
    }
}

/// The keys an object schema lists.
fn properties(place: &Value) -> impl Iterator<Item = &str> {
    place
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|map| map.keys().map(String::as_str))
}

/// What two spellings of one key have in common.
fn fold(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;
    use std::collections::BTreeMap;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Document {
        id: String,
        zones: Vec<String>,
        window: Option<Window>,
        scope: Vec<Scope>,
        lifted: Option<Lifted>,
        labels: BTreeMap<String, Window>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Window {
        effective: Option<String>,
        expires: Option<String>,
    }

    #[derive(JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Scope {
        #[serde(rename = "match")]
        kind: String,
        window: Window,
    }

    #[derive(JsonSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Lifted {
        Flag(bool),
        One(Lift),
        Many(Vec<Lift>),
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Lift {
        at: String,
        zones: Vec<String>,
    }

    fn schema() -> Value {
        schemars::schema_for!(Document).to_value()
    }

    #[test]
    fn unknown_keys_are_found_wherever_they_stand() {
        for (text, expected) in [
            ("", vec![]),
            ("id = 'x'\nzones = ['a']", vec![]),
            ("ID = 'x'", vec![("ID", Some("id"), 1)]),
            ("id = 'x'\nzone = ['a']", vec![("zone", Some("zones"), 2)]),
            ("id = 'x'\nqqqqqq = 1", vec![("qqqqqq", None, 2)]),
            ("[window]\nexpire = 'x'", vec![("window.expire", Some("expires"), 2)]),
            ("window.efective = 'x'", vec![("window.efective", Some("effective"), 1)]),
            ("[[scope]]\nmatch = 'x'\n[[scope]]\nmach = 'y'", vec![("scope[1].mach", Some("match"), 4)]),
            ("[[scope]]\n[scope.window]\nexpirse = 1", vec![("scope[0].window.expirse", Some("expires"), 3)]),
            (
                "[labels.one]\nexpires = 'x'\n[labels.two]\nexpired = 'y'",
                vec![("labels.two.expired", Some("expires"), 4)],
            ),
            ("lifted = true", vec![]),
            ("[lifted]\nat = 'x'\nzone = []", vec![("lifted.zone", Some("zones"), 3)]),
            ("[[lifted]]\nat = 'x'\n[[lifted]]\nta = 'y'", vec![("lifted[1].ta", Some("at"), 4)]),
            (
                "zoness = []\nidd = 1\n[lifted]\nby = 1",
                vec![("zoness", Some("zones"), 1), ("idd", Some("id"), 2), ("lifted.by", None, 4)],
            ),
            // The type is wrong, the key is not: somebody else says so.
            ("zones = { a = 1 }", vec![]),
        ] {
            let document = DeTable::parse(text).unwrap();
            let found: Vec<_> = unknown(document.get_ref(), &schema())
                .into_iter()
                .map(|key| (key.path.clone(), key.nearest.clone(), line_of(text, key.span.start)))
                .collect();
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(path, nearest, line)| (path.to_string(), nearest.map(String::from), line))
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_problem_names_line_and_neighbour() {
        let text = "[[scope]]\nmach = 'x'";
        let found = unknown(DeTable::parse(text).unwrap().get_ref(), &schema());
        let shown = found[0].to_problem("a.toml", text).to_string();
        assert_eq!(shown, "error: a.toml:2: unknown key `scope[0].mach`\n  hint: did you mean `match`?");
        let text = "[window]\nqqqqqq = 1";
        let found = unknown(DeTable::parse(text).unwrap().get_ref(), &schema());
        let shown = found[0].to_problem("a.toml", text).to_string();
        assert_eq!(
            shown,
            "error: a.toml:2: unknown key `window.qqqqqq`\n  hint: known here: effective, expires"
        );
    }

    #[test]
    fn known_keys_by_path() {
        for (path, expected) in [
            (&[][..], "id labels lifted scope window zones"),
            (&["window"], "effective expires"),
            (&["lifted"], "at zones"),
            (&["id"], ""),
            (&["nothing", "there"], ""),
        ] {
            assert_eq!(known_at(&schema(), path).join(" "), expected, "{path:?}");
        }
    }

    #[test]
    fn nearest_words() {
        let known = ["servers", "try_timeout_ms", "total_timeout_ms", "udp", "tcp", "id"];
        for (word, expected) in [
            ("server", Some("servers")),
            ("Servers", Some("servers")),
            ("try-timeout-ms", Some("try_timeout_ms")),
            ("timeout_ms", Some("try_timeout_ms")),
            ("try_timeout", Some("try_timeout_ms")),
            ("upd", Some("udp")),
            ("tpc", Some("tcp")),
            ("dns", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }

    #[test]
    fn lines_from_offsets() {
        for (text, offset, expected) in [
            ("", 0, 1),
            ("a\nb", 0, 1),
            ("a\nb", 1, 1),
            ("a\nb", 2, 2),
            ("a\n\nb", 3, 3),
            ("a\nb", 99, 2),
            ("é\nb", 3, 2),
        ] {
            assert_eq!(line_of(text, offset), expected, "{text:?} {offset}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = serde_json::json!({ "$ref": "#" });
        let document = DeTable::parse("a = 1").unwrap();
        assert_eq!(unknown(document.get_ref(), &schema), vec![]);
    }
}
