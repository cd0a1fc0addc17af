//! The JSON Schema of a state file. Editors and rlvm itself use it.

use std::collections::BTreeMap;

use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Map, Value, json};

use super::State;
use crate::model::{Line, Name, field::keyed};

/// What a job says and `defaults` and profiles cannot.
pub(super) const NOT_IN_PROFILES: [&str; 3] = ["sources", "was", "profile"];

/// What a file says that is gone when a state has been understood.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only described: the tree is where they are applied")]
struct Preamble {
    /// Files that are read first, relative to this file. Maps merge by key; everything else is replaced. Later files
    /// win over earlier ones, and this file wins over all. Default: none.
    include: Vec<Line>,
    /// Variables: `${name}` in a value is replaced; `$${` stands for the text `${`. Default: none.
    #[schemars(schema_with = "keyed::<Name, Word>")]
    vars: BTreeMap<Name, String>,
}

/// Text, a number, true or false.
#[derive(JsonSchema)]
#[schemars(inline, extend("type" = ["string", "number", "boolean"]))]
struct Word;

/// Returns the JSON Schema of a state file.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let preamble = generator.subschema_for::<Preamble>();
    drop(preamble);
    let mut root = generator.into_root_schema_for::<State>();
    Plain.transform(&mut root);
    let mut root = root.to_value();
    files(&mut root);
    root
}

/// Adds what a file can say beside what is left of it: includes, variables, defaults and profiles.
fn files(root: &mut Value) {
    let Some(defs) = root.get_mut("$defs").and_then(Value::as_object_mut) else { return };
    let preamble = defs.remove("Preamble");
    let mut profile = defs.get("Job").cloned().unwrap_or_default();
    profile["description"] = "Settings that several jobs share.".into();
    if let Some(keys) = profile.get_mut("properties").and_then(Value::as_object_mut) {
        keys.retain(|key, _| !NOT_IN_PROFILES.contains(&key.as_str()));
    }
    defs.insert("Profile".into(), profile);
    if let Some(keys) = defs.get_mut("Job").and_then(|job| job.get_mut("properties")) {
        let mut name = Name::json_schema(&mut schemars::SchemaGenerator::default()).to_value();
        name["description"] = "The profile that the job starts from, over `defaults`. Default: none.".into();
        keys["profile"] = name;
    }
    let Some(keys) = root.get_mut("properties").and_then(Value::as_object_mut) else { return };
    if let Some(Value::Object(mut preamble)) =
        preamble.and_then(|mut it| it.get_mut("properties").map(Value::take))
    {
        keys.append(&mut preamble);
    }
    keys.insert(
        "defaults".into(),
        json!({
            "description": "Settings of all jobs. A profile wins over them, and a job's own keys win over both. Default: none.",
            "$ref": "#/$defs/Profile",
        }),
    );
    let names = Name::json_schema(&mut schemars::SchemaGenerator::default());
    keys.insert(
        "profiles".into(),
        json!({
            "description": "Settings that several jobs share, by name. Default: none.",
            "type": "object",
            "propertyNames": names,
            "additionalProperties": { "$ref": "#/$defs/Profile" },
        }),
    );
}

/// Makes what serde's shapes mean plain: one object for a choice of one key, one list for a choice of words, numbers
/// with their bounds, and nothing that may be null.
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(schema) = schema.as_object_mut() {
            nothing_is_null(schema);
            words(schema);
            one_key(schema);
            bounds(schema);
        }
        transform_subschemas(self, schema);
    }
}

/// Takes `null` out: a key without a value is a mistake, not a way to leave it out.
fn nothing_is_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [one] = &types[..] {
            let one = one.clone();
            schema.insert("type".into(), one);
        }
    }
    if let Some(Value::Array(branches)) = schema.get_mut("anyOf") {
        branches.retain(|branch| branch.get("type") != Some(&json!("null")));
        if let [Value::Object(one)] = &branches[..] {
            let one = one.clone();
            schema.remove("anyOf");
            for (key, value) in one {
                schema.entry(key).or_insert(value);
            }
        }
    }
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
}

/// Makes `enum: [a, b]` of a choice of words that are each described.
fn words(schema: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = schema.get("oneOf") else { return };
    let words: Option<Vec<Value>> = branches.iter().map(|branch| branch.get("const").cloned()).collect();
    if let Some(words) = words {
        schema.remove("oneOf");
        schema.insert("type".into(), "string".into());
        schema.insert("enum".into(), words.into());
    }
}

/// Makes one object of a choice of objects with one key each, so that what is wrong in one branch is said of it.
fn one_key(schema: &mut Map<String, Value>) {
    let branch = |branch: &Value| -> Option<(String, Value)> {
        let properties = branch.get("properties")?.as_object()?;
        let (key, value) = properties.iter().next().filter(|_| properties.len() == 1)?;
        let mut value = value.clone();
        if let (Some(text), Some(value)) = (branch.get("description"), value.as_object_mut()) {
            value.insert("description".into(), text.clone());
        }
        Some((key.clone(), value))
    };
    let Some(Value::Array(branches)) = schema.get("oneOf") else { return };
    let Some(branches) = branches.iter().map(branch).collect::<Option<Vec<_>>>() else { return };
    schema.remove("oneOf");
    schema.insert("type".into(), "object".into());
    if schema.contains_key("properties") {
        let required: Vec<Value> = branches.iter().map(|(key, _)| json!({ "required": [key] })).collect();
        schema.insert("oneOf".into(), required.into());
    } else {
        schema.insert("minProperties".into(), 1.into());
        schema.insert("maxProperties".into(), 1.into());
    }
    schema.remove("unevaluatedProperties");
    schema.insert("additionalProperties".into(), false.into());
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.extend(branches);
    }
}

/// Says the bounds of a Rust integer in the schema's own words.
fn bounds(schema: &mut Map<String, Value>) {
    let (least, most) = match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => (0, i64::from(u8::MAX)),
        Some("uint16") => (0, i64::from(u16::MAX)),
        Some("uint32") => (0, i64::from(u32::MAX)),
        Some("int8") => (i64::from(i8::MIN), i64::from(i8::MAX)),
        _ => return,
    };
    schema.remove("format");
    schema.entry("minimum").or_insert(least.into());
    schema.entry("maximum").or_insert(most.into());
}
