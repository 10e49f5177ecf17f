//! POST, PUT, PATCH and DELETE (`rest.md` §3.2-3.5). One request is one transaction.

use http::{HeaderValue, StatusCode, header};
use http_chain::Response;
use resource::{
    Action, Error, Key, Map, Query, Target, Value, Write, WriteKind, WriteOutcome, Written,
};

use crate::address::{Address, Place};
use crate::call::{Call, Outcome};
use crate::verb::Verb;
use crate::{conditional, location};

/// The header that confirms the deletion of everything (D4).
const CONFIRM_DELETE_ALL: &str = "x-confirm-delete-all";

impl Call {
    pub(crate) async fn post(&mut self, address: &Address) -> Outcome {
        self.check_replication()?;
        match (&address.place, self.methods().create) {
            (Place::Record(_), _) | (_, false) => self.act(address).await,
            _ => self.create(address).await,
        }
    }

    /// P1-P7: makes one record, or several at once.
    async fn create(&mut self, address: &Address) -> Outcome {
        self.authorize(&[Action::Insert])?;
        conditional::check_collection_write(self.request.headers())?;
        let value = self.value().await?;
        let (bodies, is_list) = match value {
            Value::Array(items) if items.is_empty() => {
                return Err(Error::bad_request("The array holds nothing to create").into());
            }
            Value::Array(items) => (items, true),
            single => (vec![single], false),
        };
        let prefix = Self::prefix(address);
        let writes: Result<Vec<Write>, Error> = bodies
            .into_iter()
            .map(|body| self.creation(body, prefix))
            .collect();
        let writes = writes?;
        self.check_acceptable()?;
        let written = self.resource.write(writes, &self.context).await?;
        match (is_list, written.as_slice()) {
            (false, [one]) => self.respond_created(one),
            _ => {
                let keys = written.iter().map(|one| key_value(one.key.as_ref()));
                self.respond_value(StatusCode::CREATED, &Value::Array(keys.collect()))
            }
        }
    }

    /// P5: in a sub-collection, a key that was not given is generated below its prefix.
    fn creation(&self, body: Value, prefix: Option<&str>) -> Result<Write, Error> {
        let map = self.object(&body)?;
        let has_key = self.key_in(map).is_some();
        let key = match prefix {
            Some(prefix) if !has_key => {
                Some(Key::String(format!("{prefix}{}", uuid::Uuid::new_v4())))
            }
            _ => None,
        };
        Ok(Write::new(key, WriteKind::Create, Some(body)))
    }

    fn respond_created(&self, written: &Written) -> Outcome {
        let mut response =
            self.respond_value(StatusCode::CREATED, &key_value(written.key.as_ref()))?;
        if let Some(key) = &written.key {
            let location = location::of(&self.route.entry.path, key);
            let location =
                HeaderValue::try_from(location).expect("a percent-encoded path is visible ASCII");
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(self.with_version(response, written.version))
    }

    /// P8: a custom action.
    async fn act(&mut self, address: &Address) -> Outcome {
        if !self.methods().post {
            return Err(self.not_allowed(Verb::Post));
        }
        // P15: an action on a record changes it.
        let action = match address.place {
            Place::Record(_) => Action::Update,
            _ => Action::Insert,
        };
        self.authorize(&[action])?;
        let target = target(address, self.query()?);
        let value = self.value().await?;
        self.check_acceptable()?;
        let answer = self.resource.post(&target, value, &self.context).await?;
        match answer {
            None => Ok(Response::new(StatusCode::NO_CONTENT)),
            Some(value) => self.respond_value(StatusCode::OK, &value),
        }
    }

    pub(crate) async fn put(&mut self, address: &Address) -> Outcome {
        self.check_replication()?;
        match &address.place {
            Place::Resource => Err(self.not_allowed(Verb::Put)),
            Place::Record(_) => self.write_record(address, Verb::Put).await,
            Place::Collection | Place::SubCollection(_) => self.put_all(address).await,
        }
    }

    pub(crate) async fn patch(&mut self, address: &Address) -> Outcome {
        self.check_replication()?;
        match &address.place {
            Place::Record(_) => self.write_record(address, Verb::Patch).await,
            _ => Err(self.not_allowed(Verb::Patch)),
        }
    }

    /// PUT (U1) or PATCH (T1) of one record.
    async fn write_record(&mut self, address: &Address, verb: Verb) -> Outcome {
        let key = self.record_to_write(address, verb)?;
        self.authorize(&[Action::Insert, Action::Update])?;
        let body = self.value().await?;
        if self.table.is_some() || verb == Verb::Patch {
            self.check_key(self.object(&body)?, &key)?;
        }
        let kind = match verb {
            Verb::Patch => WriteKind::Patch,
            _ => WriteKind::Put,
        };
        let mut write = Write::new(Some(key), kind, Some(body));
        write.precondition = conditional::of_write(self.request.headers())?;
        let written = self.resource.write(vec![write], &self.context).await?;
        let Some(written) = written.first() else {
            return Ok(Response::new(StatusCode::NO_CONTENT));
        };
        let is_created = verb == Verb::Put && written.outcome == WriteOutcome::Created;
        let status = match is_created && self.shared.config.put_created {
            true => StatusCode::CREATED,
            false => StatusCode::NO_CONTENT,
        };
        Ok(self.with_version(Response::new(status), written.version))
    }

    /// U3: an array of records, each with its key.
    async fn put_all(&mut self, address: &Address) -> Outcome {
        self.authorize(&[Action::Insert, Action::Update])?;
        conditional::check_collection_write(self.request.headers())?;
        let Value::Array(items) = self.value().await? else {
            return Err(Error::bad_request("PUT on a collection takes an array of records").into());
        };
        let prefix = Self::prefix(address);
        let writes: Result<Vec<Write>, Error> = items
            .into_iter()
            .enumerate()
            .map(|(index, body)| self.replacement(body, prefix, index))
            .collect();
        self.resource.write(writes?, &self.context).await?;
        Ok(Response::new(StatusCode::NO_CONTENT))
    }

    fn replacement(&self, body: Value, prefix: Option<&str>, index: usize) -> Result<Write, Error> {
        let key = self.object(&body)?;
        let key = self.key_in(key).map(Key::from_value).transpose()?;
        if self.table.is_some() && key.is_none() {
            let name = self.primary_key().unwrap_or_default();
            let message = format!("Element {index} has no primary key '{name}'");
            return Err(Error::bad_request(message));
        }
        if let (Some(key), Some(prefix)) = (&key, prefix)
            && !key.to_string().starts_with(prefix)
        {
            let message = format!("Element {index}: the key {key} does not start with {prefix}");
            return Err(Error::bad_request(message));
        }
        Ok(Write::new(key, WriteKind::Put, Some(body)))
    }

    pub(crate) async fn delete(&mut self, address: &Address) -> Outcome {
        self.check_replication()?;
        self.authorize(&[Action::Delete])?;
        match &address.place {
            Place::Record(_) => self.delete_record(address).await,
            _ => self.delete_matching(address).await,
        }
    }

    /// D1.
    async fn delete_record(&self, address: &Address) -> Outcome {
        let key = self.record_to_write(address, Verb::Delete)?;
        let mut write = Write::new(Some(key), WriteKind::Delete, None);
        write.precondition = conditional::of_write(self.request.headers())?;
        self.check_acceptable()?;
        let written = self.resource.write(vec![write], &self.context).await?;
        let existed = written
            .iter()
            .any(|one| one.outcome == WriteOutcome::Deleted);
        match existed || !self.shared.config.strict_delete {
            true => self.respond_value(StatusCode::OK, &Value::Bool(existed)),
            false => Ok(self.respond_absent()),
        }
    }

    /// D2, D4.
    async fn delete_matching(&self, address: &Address) -> Outcome {
        // P13: how many records go tells what they hold.
        self.authorize(&[Action::Read])?;
        conditional::check_collection_write(self.request.headers())?;
        let is_star = self.query_text() == Some("*");
        let is_confirmed = is_star
            || self.request.header(CONFIRM_DELETE_ALL) == Some("true")
            || self.shared.config.allow_delete_all;
        let query = match is_star {
            true => Query::default(),
            false => self.query()?,
        };
        let target = target(address, query);
        let is_everything = target.key.is_none() && target.query.condition.is_none();
        if is_everything && !is_confirmed {
            return Err(Error::bad_request(
                "Deleting a whole collection requires an explicit condition",
            )
            .into());
        }
        self.check_acceptable()?;
        self.resource
            .delete_matching(&target, &self.context)
            .await?;
        self.respond_value(StatusCode::OK, &Value::Bool(true))
    }

    /// The key of the record to write. Nothing in the URL but the key may seem to choose it: a condition
    /// that is not looked at, or a property that is taken for the whole record, would lose data.
    pub(crate) fn record_to_write(&self, address: &Address, verb: Verb) -> Outcome<Key> {
        let Place::Record(key) = &address.place else {
            return Err(self.not_allowed(verb));
        };
        if address.property.is_some() {
            return Err(self.not_allowed(verb));
        }
        if self.query()?.condition.is_some() {
            let message = "Conditions do not apply to a write of a single record; use If-Match";
            return Err(Error::bad_request(message).into());
        }
        Ok(key.clone())
    }

    fn object<'v>(&self, body: &'v Value) -> Result<&'v Map, Error> {
        body.as_map().ok_or_else(|| {
            let kind = body.kind();
            Error::bad_request(format!("A record has to be an object, found {kind}"))
        })
    }

    fn primary_key(&self) -> Option<&str> {
        Some(&self.table.as_deref()?.primary_key)
    }

    fn key_in<'v>(&self, record: &'v Map) -> Option<&'v Value> {
        let key = record.get(self.primary_key()?)?;
        (!key.is_null()).then_some(key)
    }

    /// U2: the key in the body, if there is one, is that of the URL.
    fn check_key(&self, record: &Map, key: &Key) -> Result<(), Error> {
        let Some(given) = self.key_in(record) else {
            return Ok(());
        };
        if Key::from_value(given)? == *key {
            return Ok(());
        }
        let name = self.primary_key().unwrap_or_default();
        let given = String::from_utf8_lossy(&resource::json::to_vec(given)).into_owned();
        let own = String::from_utf8_lossy(&resource::json::to_vec(&key.to_value())).into_owned();
        Err(Error::bad_request(format!(
            "The primary key {name} is {given} in the body and {own} in the URL"
        )))
    }

    /// Only super users direct replication. A server by itself has nowhere to send to, and does as asked.
    pub(crate) fn check_replication(&self) -> Outcome<()> {
        let headers = self.request.headers();
        let directs =
            headers.contains_key("x-replicate-to") || headers.contains_key("x-replicate-from");
        match (directs, self.context.caller.user()) {
            (false, _) => Ok(()),
            (true, None) => Err(Error::unauthorized("Must login").into()),
            (true, Some(_)) if self.context.caller.is_super_user() => Ok(()),
            (true, Some(_)) => Err(Error::forbidden(
                "Can not specify replication parameters without super user permissions",
            )
            .into()),
        }
    }
}

fn target(address: &Address, query: Query) -> Target {
    let (key, collection) = match &address.place {
        Place::Record(key) => (Some(key.clone()), false),
        Place::SubCollection(prefix) => (Some(Key::String(prefix.clone())), true),
        Place::Resource | Place::Collection => (None, true),
    };
    Target {
        key,
        collection,
        query,
    }
}

fn key_value(key: Option<&Key>) -> Value {
    key.map(Key::to_value).unwrap_or_default()
}
