//! What each stage decided, for `weir explain`. Not in the module: there the feature `explain` is off and no note is
//! even compiled.

/// The stages of a decision, in order. Nothing later opens what an earlier one closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Who calls: everything else depends on it.
    Identity,
    /// What is found in the texts: boundaries may depend on it.
    Redaction,
    /// Where the request may go at all.
    Boundaries,
    /// Which model is used: preferences inside the boundaries.
    Route,
    /// Whether the tenant may use what was asked and what was chosen.
    Allowlist,
    /// Which targets are left and in what order.
    Targets,
    /// How large the request is: counted after assembly.
    Tokens,
    /// Whether the tenant's limits admit that size.
    Limits,
    /// What it may cost at most, held before it is sent.
    Budgets,
}

/// The stages in the order in which they decide.
pub const ORDER: [Stage; 9] = [
    Stage::Identity,
    Stage::Redaction,
    Stage::Boundaries,
    Stage::Route,
    Stage::Allowlist,
    Stage::Targets,
    Stage::Tokens,
    Stage::Limits,
    Stage::Budgets,
];

impl Stage {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Redaction => "redaction",
            Self::Boundaries => "boundaries",
            Self::Route => "route",
            Self::Allowlist => "allowlist",
            Self::Targets => "targets",
            Self::Tokens => "tokens",
            Self::Limits => "limits",
            Self::Budgets => "budgets",
        }
    }
}

/// Notes of a decision, when asked for.
#[derive(Debug, Default)]
pub struct Trace(Option<Vec<(Stage, String)>>);

impl Trace {
    /// A trace that records.
    #[cfg(feature = "explain")]
    pub fn on() -> Self {
        Self(Some(Vec::new()))
    }

    /// Records what a stage decided.
    pub fn note(&mut self, stage: Stage, text: impl FnOnce() -> String) {
        if cfg!(feature = "explain")
            && let Some(notes) = &mut self.0
        {
            notes.push((stage, text()));
        }
    }

    /// What was recorded.
    pub fn notes(&self) -> &[(Stage, String)] {
        self.0.as_deref().unwrap_or_default()
    }
}
