//! COPY and MOVE of a record within its resource (`rest.md` §3, RFC 4918 §9.8 and §9.9).

use http::{HeaderValue, StatusCode, header};
use http_chain::Response;
use resource::{
    Action, AttributeType, Error, ErrorKind, Key, Precondition, Record, Target, Value, Write,
    WriteKind, WriteOutcome, Written,
};

use crate::address::{Address, Place};
use crate::call::{Call, Outcome};
use crate::conditional::{self, Verdict};
use crate::failure::Failure;
use crate::location;
use crate::route::Route;
use crate::verb::Verb;

/// How often a MOVE looks again at a record that is written at the same time.
const MOVE_ATTEMPTS: usize = 4;

impl Call {
    /// P16: COPY needs read and insert, MOVE also delete.
    pub(crate) async fn transfer(&mut self, verb: Verb, address: &Address) -> Outcome {
        self.check_replication()?;
        let from = self.record_to_write(address, verb)?;
        self.authorize(&[Action::Read])?;
        self.authorize(&[Action::Insert])?;
        if verb == Verb::Move {
            self.authorize(&[Action::Delete])?;
            self.check_reads_all()?;
        }
        let to = self.destination(verb)?;
        if to == from {
            let detail = "Source and destination are the same record";
            return Err(Failure::new(StatusCode::FORBIDDEN, detail));
        }
        let mut attempts = 1;
        loop {
            let Some(record) = self.source(&from).await? else {
                return Ok(self.respond_absent());
            };
            match self.carry(verb, &record, &from, &to).await {
                // Somebody else wrote the source since it was read.
                Err(error)
                    if error.kind() == ErrorKind::PreconditionFailed
                        && verb == Verb::Move
                        && self.may_overwrite()
                        && attempts < MOVE_ATTEMPTS =>
                {
                    attempts += 1;
                }
                carried => return Ok(self.respond_carried(&to, &carried?)),
            }
        }
    }

    /// A MOVE would lose what its user can not read.
    fn check_reads_all(&self) -> Outcome<()> {
        let access = self.context.caller.table_access(&*self.resource);
        match access.is_some_and(|access| access.attributes.is_some()) {
            true => Err(Error::forbidden("Unauthorized access to resource").into()),
            false => Ok(()),
        }
    }

    async fn source(&self, key: &Key) -> Outcome<Option<Record>> {
        let target = Target::record(key.clone());
        let Some(record) = self.resource.get(&target, &self.context).await? else {
            return Ok(None);
        };
        match conditional::check_read(self.request.headers(), record.version) {
            Verdict::Proceed => Ok(Some(record)),
            Verdict::NotModified | Verdict::Failed => Err(conditional::failed().into()),
        }
    }

    /// Writes the copy, and removes the source of a MOVE unless it has changed, in one transaction.
    async fn carry(
        &mut self,
        verb: Verb,
        record: &Record,
        from: &Key,
        to: &Key,
    ) -> Result<Vec<Written>, Error> {
        let copy = self.copy(record, from, to).await?;
        let mut put = Write::new(Some(to.clone()), WriteKind::Put, Some(copy));
        put.expires_at = record.expires_at;
        if !self.may_overwrite() {
            put.precondition.if_none_match = Some(Vec::new());
        }
        let mut writes = vec![put];
        if verb == Verb::Move {
            let mut delete = Write::new(Some(from.clone()), WriteKind::Delete, None);
            let is_versioned = record.version != base::Timestamp::ZERO;
            delete.precondition = Precondition {
                if_match: is_versioned.then(|| vec![record.version]),
                ..Precondition::default()
            };
            writes.push(delete);
        }
        self.resource.write(writes, &self.context).await
    }

    /// The record under another key, without what the server sets by itself (N4).
    async fn copy(&mut self, record: &Record, from: &Key, to: &Key) -> Result<Value, Error> {
        let mut value = record.body.to_value();
        let (Some(table), Value::Map(map)) = (self.table.clone(), &mut value) else {
            return Ok(value);
        };
        for attribute in &table.attributes {
            if attribute.assigned_created_time || attribute.assigned_updated_time {
                map.remove(&attribute.name);
            }
            let is_content = attribute.kind == AttributeType::Blob;
            if is_content
                && map
                    .get(&attribute.name)
                    .is_some_and(|value| !value.is_null())
            {
                let content = self.copy_blob(from, &attribute.name).await?;
                map.insert(attribute.name.as_str(), content);
            }
        }
        map.insert(table.primary_key.as_str(), to.to_value());
        Ok(value)
    }

    /// The content of an attribute once more, for another record.
    async fn copy_blob(&mut self, from: &Key, attribute: &str) -> Result<Value, Error> {
        let target = Target::record(from.clone());
        let blob = self
            .resource
            .blob(&target, attribute, &self.context)
            .await?;
        let Some(blob) = blob else {
            return Ok(Value::Null);
        };
        let media_type = blob.media_type.clone();
        let taken = self
            .resource
            .upload(attribute, media_type.as_deref(), blob.read(), &self.context)
            .await?;
        let value = taken.value();
        self.taken.push(taken);
        Ok(value)
    }

    fn respond_carried(&self, to: &Key, written: &[Written]) -> Response {
        let Some(put) = written.first() else {
            return Response::new(StatusCode::NO_CONTENT);
        };
        let response = match put.outcome {
            WriteOutcome::Created => {
                let location = location::of(&self.route.entry.path, to);
                let location = HeaderValue::try_from(location)
                    .expect("a percent-encoded path is visible ASCII");
                Response::new(StatusCode::CREATED).with_header(header::LOCATION, location)
            }
            _ => Response::new(StatusCode::NO_CONTENT),
        };
        self.with_version(response, put.version)
    }

    /// RFC 4918 §10.6.
    fn may_overwrite(&self) -> bool {
        let overwrite = self.request.header("overwrite");
        !overwrite.is_some_and(|flag| flag.trim().eq_ignore_ascii_case("f"))
    }

    /// The key that `Destination` stands for: a URL of this server, or a path, within the same resource.
    fn destination(&self, verb: Verb) -> Outcome<Key> {
        let method = verb.name();
        let Some(text) = self.request.header("destination") else {
            return Err(Error::bad_request(format!("{method} needs a Destination")).into());
        };
        let uri: http::Uri = text
            .parse()
            .map_err(|_| Error::bad_request(format!("'{text}' is no Destination")))?;
        if let Some(authority) = uri.authority()
            && self
                .request
                .host()
                .is_none_or(|host| !authority.as_str().eq_ignore_ascii_case(host))
        {
            let detail = format!("The Destination is on another server, {authority}");
            return Err(Failure::new(StatusCode::BAD_GATEWAY, detail));
        }
        let shared = &*self.shared;
        let route = Route::find(&shared.registry, &shared.config.types, uri.path());
        let own = &self.route.entry.path;
        let Some(route) = route.filter(|route| route.entry.path == *own) else {
            let name = self.resource.name();
            let message = format!("{method} to another resource than {name} is not supported");
            return Err(Error::not_implemented(message).into());
        };
        let target = route.target(uri.path());
        let address = self.parse_target(target, uri.query())?;
        match address {
            Address {
                place: Place::Record(key),
                suffix: None,
                property: None,
            } => Ok(key),
            _ => Err(Error::bad_request(format!("'{text}' is no record")).into()),
        }
    }
}
