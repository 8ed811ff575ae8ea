//! What spend is divided by: `tenant`, `key`, `model`, `provider`, `label:NAME`, or several of them with commas.

use std::fmt;
use std::str::FromStr;

use super::table::Whose;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Tenant.
    Tenant,
    /// Id of the key.
    Key,
    /// The policy's name of the model.
    Model,
    /// The policy's name of the provider.
    Provider,
    /// A label of `telemetry.labels`.
    Label(String),
}

impl Dimension {
    /// The value; empty where there is none.
    pub fn of<'a>(&self, whose: &'a Whose) -> &'a str {
        match self {
            Self::Tenant => &whose.tenant,
            Self::Key => &whose.key,
            Self::Model => &whose.model,
            Self::Provider => &whose.provider,
            Self::Label(name) => {
                whose.labels.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value)
            }
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str("tenant"),
            Self::Key => f.write_str("key"),
            Self::Model => f.write_str("model"),
            Self::Provider => f.write_str("provider"),
            Self::Label(name) => write!(f, "label:{name}"),
        }
    }
}

/// One or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By(pub Vec<Dimension>);

impl By {
    /// Names, in order.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(Dimension::to_string).collect()
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |name: &str| match (name, name.strip_prefix("label:")) {
            ("tenant", _) => Ok(Dimension::Tenant),
            ("key", _) => Ok(Dimension::Key),
            ("model", _) => Ok(Dimension::Model),
            ("provider", _) => Ok(Dimension::Provider),
            (_, Some(label)) if !label.is_empty() => Ok(Dimension::Label(label.to_owned())),
            _ => Err(format!(
                "`{name}`: say tenant, key, model, provider or label:NAME (one of telemetry.labels)"
            )),
        };
        text.split(',').map(|name| one(name.trim())).collect::<Result<_, _>>().map(By)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in ["tenant", "key,model", "label:team,provider"] {
            assert_eq!(text.parse::<By>().unwrap().names().join(","), text);
        }
        for text in ["", "tenants", "label:", "tenant,,key"] {
            assert!(text.parse::<By>().unwrap_err().contains("label:NAME"), "{text}");
        }
    }
}
