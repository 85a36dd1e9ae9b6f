//! Pauses of the operator's own lists, as the API has them: groups of clients know until when, this remembers why.
//!
//! They end by themselves and with the process, and are told in the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::api::Pauses;
use super::api::types::PauseStatus;
use crate::clients::Clients;
use crate::policy::UnixSeconds;

/// Pauses of groups of clients.
#[derive(Debug)]
pub struct GroupPauses {
    clients: Arc<Clients>,
    /// Why each is paused: no more than there are groups.
    why: Mutex<HashMap<Option<String>, String>>,
}

impl GroupPauses {
    /// Those of these groups.
    pub fn new(clients: Arc<Clients>) -> GroupPauses {
        GroupPauses { clients, why: Mutex::default() }
    }
}

impl Pauses for GroupPauses {
    fn pauses(&self, at: UnixSeconds) -> Vec<PauseStatus> {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        let status =
            |(group, until)| PauseStatus { why: why.get(&group).cloned().unwrap_or_default(), group, until };
        self.clients.pauses(at).into_iter().map(status).collect()
    }

    fn pause(&self, group: Option<&str>, until: UnixSeconds, why: &str) -> Result<(), String> {
        self.clients.pause(group, until).map_err(|error| error.to_string())?;
        let mut whys = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        whys.insert(group.map(str::to_string), why.to_string());
        Ok(())
    }

    fn resume(&self, group: Option<&str>) -> Result<(), String> {
        self.clients.resume(group).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Group;
    use crate::policy::View;

    #[test]
    fn a_pause_is_told_with_its_reason_until_it_ends() {
        let group =
            Group { name: "kids".into(), networks: Vec::new(), view: View::ALL, schedule: Vec::new() };
        let pauses = GroupPauses::new(Arc::new(Clients::new(&[group])));
        assert_eq!(pauses.pauses(0), []);
        pauses.pause(None, 100, "a shop does not open").unwrap();
        pauses.pause(Some("kids"), 50, "").unwrap();
        let told = |group: Option<&str>, until, why: &str| PauseStatus {
            group: group.map(str::to_string),
            until,
            why: why.into(),
        };
        let house = told(None, 100, "a shop does not open");
        assert_eq!(pauses.pauses(10), [house.clone(), told(Some("kids"), 50, "")]);
        assert_eq!(pauses.pauses(50), [house]);
        assert!(pauses.pause(Some("kid"), 50, "").unwrap_err().contains("did you mean \"kids\"?"));
        pauses.resume(None).unwrap();
        assert_eq!(pauses.pauses(10), []);
    }
}
