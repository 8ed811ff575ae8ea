//! Which API a request speaks, by its path. Nothing else of the request is looked at here.

use weir_sorted::contains;

/// An API that clients may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Api {
    /// `POST /v1/chat/completions`.
    #[default]
    OpenaiChat = 1,
    /// `POST /v1/completions`.
    OpenaiCompletions = 2,
    /// `GET /v1/models`, answered here.
    Models = 3,
    /// `POST /v1/messages`.
    AnthropicMessages = 4,
    /// `POST /v1/messages/count_tokens`, answered here where the count is exact.
    AnthropicCount = 5,
}

const ALL: [Api; 5] =
    [Api::OpenaiChat, Api::OpenaiCompletions, Api::Models, Api::AnthropicMessages, Api::AnthropicCount];

impl Api {
    /// The API of a code made by `as u64`.
    pub fn from_code(code: u64) -> Option<Self> {
        ALL.into_iter().find(|a| *a as u64 == code)
    }

    /// The dialect in which whoever asks for this path understands errors: OpenAI's for want of a better.
    pub fn of_path(path: &str) -> Self {
        let anthropic = path.starts_with("/v1/messages") || path.starts_with("/anthropic/");
        if anthropic { Self::AnthropicMessages } else { Self::OpenaiChat }
    }

    /// It is Anthropic's.
    pub fn anthropic(self) -> bool {
        matches!(self, Self::AnthropicMessages | Self::AnthropicCount)
    }

    /// `gen_ai.operation.name`; empty where no model is asked.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Models => "",
            Self::OpenaiChat | Self::AnthropicMessages | Self::AnthropicCount => "chat",
            Self::OpenaiCompletions => "text_completion",
        }
    }

    /// The API's own path.
    pub fn path(self) -> &'static str {
        match self {
            Self::OpenaiChat => "/v1/chat/completions",
            Self::OpenaiCompletions => "/v1/completions",
            Self::Models => "/v1/models",
            Self::AnthropicMessages => "/v1/messages",
            Self::AnthropicCount => "/v1/messages/count_tokens",
        }
    }
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// An API that is served.
    Served(Api),
    /// A served path with another method; this one is allowed.
    Method(&'static str),
    /// A path of an LLM API that is not served.
    Unserved,
    /// No path of any LLM API.
    Unknown,
}

/// For error texts.
pub const SERVED: &str = "POST /v1/chat/completions, POST /v1/completions, POST /v1/messages, POST /v1/messages/count_tokens, GET /v1/models";

// Whatever a policy says of unknown paths, these never pass: they carry prompts.
const LLM_PREFIXES: [&str; 22] = [
    "/v1/chat",
    "/v1/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/models",
    "/v1/files",
    "/v1/uploads",
    "/v1/batches",
    "/v1/audio",
    "/v1/images",
    "/v1/videos",
    "/v1/realtime",
    "/v1/assistants",
    "/v1/threads",
    "/v1/moderations",
    "/v1/fine_tuning",
    "/v1/vector_stores",
    "/v1/messages",
    "/v1/complete",
    "/model/",
    "/openai/",
    "/anthropic/",
];

/// Classifies a request by method and path; a query string does not matter.
pub fn classify(method: &str, path: &str) -> Path {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    for api in ALL {
        if path == api.path() {
            let allowed = if api == Api::Models { "GET" } else { "POST" };
            return if method == allowed { Path::Served(api) } else { Path::Method(allowed) };
        }
    }
    // A path that an upstream might normalise into one of ours is judged as one of theirs.
    let odd = contains(path, "//") || contains(path, "/.") || path.contains('%') || path.contains('\\');
    let lower = path.to_ascii_lowercase();
    if LLM_PREFIXES.iter().any(|p| lower.starts_with(p)) || (odd && contains(&lower, "v1")) {
        return Path::Unserved;
    }
    Path::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        for (method, path, expected) in [
            ("POST", "/v1/chat/completions", Path::Served(Api::OpenaiChat)),
            ("POST", "/v1/chat/completions?x=1", Path::Served(Api::OpenaiChat)),
            ("GET", "/v1/chat/completions", Path::Method("POST")),
            ("POST", "/v1/completions", Path::Served(Api::OpenaiCompletions)),
            ("GET", "/v1/models", Path::Served(Api::Models)),
            ("DELETE", "/v1/models", Path::Method("GET")),
            ("POST", "/v1/messages", Path::Served(Api::AnthropicMessages)),
            ("POST", "/v1/messages?beta=true", Path::Served(Api::AnthropicMessages)),
            ("POST", "/v1/messages/count_tokens", Path::Served(Api::AnthropicCount)),
            ("GET", "/v1/messages", Path::Method("POST")),
            ("POST", "/v1/messages/batches", Path::Unserved),
            ("POST", "/v1/complete", Path::Unserved),
            ("POST", "/V1/Chat/Completions", Path::Unserved),
            ("POST", "//v1/chat/completions", Path::Unserved),
            ("POST", "/x/../v1/chat/completions", Path::Unserved),
            ("POST", "/%761/chat/completions", Path::Unknown),
            ("POST", "/model/x/converse", Path::Unserved),
            ("GET", "/healthz", Path::Unknown),
            ("GET", "", Path::Unknown),
        ] {
            assert_eq!(classify(method, path), expected, "{method} {path}");
        }
    }
}
