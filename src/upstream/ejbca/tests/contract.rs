//! What EJBCA's description of its REST interface allows: read from our own table of it, or from the description itself where the
//! environment variable `RAVELIN_EJBCA_OPENAPI` names its file.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::upstream::testing::Seen;

/// The operations, and the objects that they speak of.
pub(super) struct Contract {
    pub(super) operations: Vec<Operation>,
    pub(super) objects: BTreeMap<String, BTreeMap<String, Type>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) method: String,
    pub(super) path: String,
    /// In the path.
    pub(super) parameters: BTreeMap<String, Type>,
    pub(super) query: BTreeMap<String, Type>,
    pub(super) body: Option<String>,
    /// By status; none is anything.
    pub(super) answers: BTreeMap<String, Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Bytes,
    Date,
    Integer,
    Boolean,
    OneOf(Vec<String>),
    List(Box<Type>),
    Object(String),
}

impl Contract {
    /// The description where there is one, else our table.
    pub(super) fn load() -> Self {
        Self::description().unwrap_or_else(Self::table)
    }

    /// Our table.
    pub(super) fn table() -> Self {
        let table: Value = serde_json::from_str(include_str!("../../../../testdata/upstreams/ejbca-rest.json")).unwrap();
        let types = |of: &Value| -> BTreeMap<String, Type> {
            let all = of.as_object().into_iter().flatten();
            all.map(|(name, kind)| (name.clone(), Type::parse(kind.as_str().unwrap()))).collect()
        };
        let operation = |of: &Value| Operation {
            method: of["method"].as_str().unwrap().to_owned(),
            path: of["path"].as_str().unwrap().to_owned(),
            parameters: types(&of["parameters"]),
            query: types(&of["query"]),
            body: of["body"].as_str().map(str::to_owned),
            answers: of["answers"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(status, object)| (status.clone(), object.as_str().map(str::to_owned)))
                .collect(),
        };
        Self {
            operations: table["operations"].as_array().unwrap().iter().map(operation).collect(),
            objects: table["objects"].as_object().unwrap().iter().map(|(name, object)| (name.clone(), types(object))).collect(),
        }
    }

    /// The description, where its file is named.
    pub(super) fn description() -> Option<Self> {
        let path = std::env::var_os("RAVELIN_EJBCA_OPENAPI")?;
        let text = std::fs::read_to_string(&path).expect("the file that RAVELIN_EJBCA_OPENAPI names");
        let api: Value = serde_json::from_str(&text).unwrap();
        let mut operations = Vec::new();
        for (path, methods) in api["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let of = |place: &str| -> BTreeMap<String, Type> {
                    let all = operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == place);
                    all.map(|one| (one["name"].as_str().unwrap().to_owned(), Type::of_schema(&one["schema"]))).collect()
                };
                let object = |content: &Value| match Type::of_schema(&content["application/json"]["schema"]) {
                    Type::Object(name) if !name.is_empty() => Some(name),
                    _ => None,
                };
                operations.push(Operation {
                    method: method.to_ascii_uppercase(),
                    path: path.clone(),
                    parameters: of("path"),
                    query: of("query"),
                    body: object(&operation["requestBody"]["content"]),
                    answers: operation["responses"]
                        .as_object()
                        .unwrap()
                        .iter()
                        .map(|(status, answer)| (status.clone(), object(&answer["content"])))
                        .collect(),
                });
            }
        }
        let properties = |schema: &Value| {
            let all = schema["properties"].as_object().into_iter().flatten();
            all.map(|(name, schema)| (name.clone(), Type::of_schema(schema))).collect()
        };
        let schemas = api["components"]["schemas"].as_object().unwrap();
        Some(Self { operations, objects: schemas.iter().map(|(name, schema)| (name.clone(), properties(schema))).collect() })
    }

    /// The operation of a request, and the values in its path; the error says what is not allowed.
    pub(super) fn allows(&self, base: &str, seen: &Seen) -> Result<(&Operation, Vec<String>), String> {
        let target = seen.target.strip_prefix(base).ok_or_else(|| format!("{} is not below {base}", seen.target))?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (operation, values) = self
            .operations
            .iter()
            .filter(|operation| operation.method == seen.method)
            .find_map(|operation| Some((operation, operation.values(path)?)))
            .ok_or_else(|| format!("there is no {} {path}", seen.method))?;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("query {pair}"))?;
            let kind = operation.query.get(name).ok_or_else(|| format!("{path} has no query parameter {name}"))?;
            kind.takes_text(&decoded(value)).map_err(|why| format!("query parameter {name}: {why}"))?;
        }
        match (&operation.body, seen.body.is_empty()) {
            (None, true) => {}
            (None, false) => return Err(format!("{path} takes no body")),
            (Some(_), true) => return Err(format!("{path} needs a body")),
            (Some(object), false) => {
                if seen.header("content-type") != "application/json" {
                    return Err(format!("{path} takes application/json, and no {:?}", seen.header("content-type")));
                }
                let body = serde_json::from_slice(&seen.body).map_err(|error| error.to_string())?;
                self.takes(&Type::Object(object.clone()), &body).map_err(|why| format!("{path}: {why}"))?;
            }
        }
        Ok((operation, values))
    }

    /// Whether an answer may be so.
    pub(super) fn allows_answer(&self, operation: &Operation, status: u16, body: &Value) -> Result<(), String> {
        let object =
            operation.answers.get(&status.to_string()).ok_or_else(|| format!("{} never answers {status}", operation.path))?;
        object.as_ref().map_or(Ok(()), |object| self.takes(&Type::Object(object.clone()), body))
    }

    fn takes(&self, kind: &Type, value: &Value) -> Result<(), String> {
        match (kind, value) {
            (Type::Object(name), Value::Object(given)) => {
                let known = self.objects.get(name).ok_or_else(|| format!("there is no object {name}"))?;
                given.iter().try_for_each(|(property, value)| {
                    let kind = known.get(property).ok_or_else(|| format!("{name} has no property {property}"))?;
                    self.takes(kind, value).map_err(|why| format!("{name}.{property}: {why}"))
                })
            }
            (Type::List(inner), Value::Array(all)) => all.iter().try_for_each(|one| self.takes(inner, one)),
            (Type::Integer, Value::Number(number)) if number.is_i64() => Ok(()),
            (Type::Boolean, Value::Bool(_)) => Ok(()),
            (Type::String | Type::Bytes | Type::Date | Type::OneOf(_), Value::String(text)) => kind.takes_text(text),
            _ => Err(format!("{value} is not of type {kind:?}")),
        }
    }
}

impl Operation {
    /// The values in a path of this operation.
    fn values(&self, path: &str) -> Option<Vec<String>> {
        let (ours, theirs): (Vec<_>, Vec<_>) = (self.path.split('/').collect(), path.split('/').collect());
        if ours.len() != theirs.len() {
            return None;
        }
        let mut values = Vec::new();
        for (pattern, part) in ours.iter().zip(theirs) {
            match pattern.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                None if *pattern != part => return None,
                None => {}
                Some(name) => {
                    let value = decoded(part);
                    self.parameters.get(name)?.takes_text(&value).ok()?;
                    values.push(value);
                }
            }
        }
        Some(values)
    }
}

impl Type {
    fn parse(text: &str) -> Self {
        match text {
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "date" => Type::Date,
            "integer" => Type::Integer,
            "boolean" => Type::Boolean,
            list if list.starts_with('[') => Type::List(Box::new(Type::parse(&list[1..list.len() - 1]))),
            words if words.contains('|') => Type::OneOf(words.split('|').map(str::to_owned).collect()),
            name => Type::Object(name.to_owned()),
        }
    }

    fn of_schema(schema: &Value) -> Self {
        if let Some(reference) = schema["$ref"].as_str() {
            return Type::Object(reference.rsplit('/').next().unwrap().to_owned());
        }
        // Some lists of words stand there as one word with commas.
        let words = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut words: Vec<_> = words.flat_map(|word| word.split(", ")).map(str::to_owned).collect();
        match (schema["type"].as_str(), schema["format"].as_str()) {
            (Some("string"), _) if !words.is_empty() => {
                let mut seen = Vec::new();
                words.retain(|word| {
                    !seen.contains(word) && {
                        seen.push(word.clone());
                        true
                    }
                });
                Type::OneOf(words)
            }
            (Some("string"), Some("byte")) => Type::Bytes,
            (Some("string"), Some("date-time")) => Type::Date,
            (Some("string"), _) => Type::String,
            (Some("integer"), _) => Type::Integer,
            (Some("boolean"), _) => Type::Boolean,
            (Some("array"), _) => Type::List(Box::new(Type::of_schema(&schema["items"]))),
            _ => Type::Object(String::new()),
        }
    }

    fn takes_text(&self, text: &str) -> Result<(), String> {
        let fits = match self {
            Type::String => true,
            Type::Bytes => STANDARD.decode(text).is_ok(),
            Type::Date => text.parse::<jiff::Timestamp>().is_ok(),
            Type::Integer => text.parse::<i64>().is_ok(),
            Type::Boolean => text.parse::<bool>().is_ok(),
            Type::OneOf(words) => words.iter().any(|word| word == text),
            Type::List(_) | Type::Object(_) => false,
        };
        if fits { Ok(()) } else { Err(format!("{text:?} is not of type {self:?}")) }
    }

    /// Whether ours says the same as theirs; where the description lists words as text only, ours lists them as words.
    pub(super) fn agrees_with(&self, theirs: &Type) -> bool {
        self == theirs || matches!((self, theirs), (Type::OneOf(_), Type::String))
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}
