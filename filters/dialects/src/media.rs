//! `data:` URIs and the media types that dialects name in different ways. It checks the form of base64 but never
//! decodes it: pictures pass through as they came.

use std::borrow::Cow;

use weir_sorted::trim;
use weir_wire::json::Value;

use crate::hub::Invalid;
use crate::openai_chat::fields;

/// A `data:` URI taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DataUri<'a> {
    /// Lower case, without parameters; `text/plain` where the URI names none (RFC 2397).
    pub media_type: String,
    /// Standard base64 with padding.
    pub data: Cow<'a, str>,
}

/// Whether the text begins like a `data:` URI.
pub(crate) fn is_data_uri(text: &str) -> bool {
    text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

/// Takes a base64 `data:` URI apart; none for other schemes, for percent-encoded data and for broken base64.
pub(crate) fn data_uri(text: &str) -> Option<DataUri<'_>> {
    if !is_data_uri(text) {
        return None;
    }
    let (head, data) = text.get(5..)?.split_once(',')?;
    let mut fields = head.split(';');
    let media_type = match fields.next().map(trim) {
        Some("") | None => "text/plain".to_owned(),
        Some(named) => named.to_ascii_lowercase(),
    };
    let base64 = fields.any(|field| trim(field).eq_ignore_ascii_case("base64"));
    if !base64 {
        return None;
    }
    Some(DataUri { media_type, data: clean_base64(data)? })
}

/// Standard, padded base64 from what clients write: the URL alphabet, white space and missing padding are mended.
/// None where it is empty or not base64.
pub(crate) fn clean_base64(text: &str) -> Option<Cow<'_, str>> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let bytes = text.as_bytes();
    let body = bytes.iter().take_while(|byte| plain(byte)).count();
    let rest = bytes.get(body..)?;
    if body > 0 && bytes.len().is_multiple_of(4) && rest.len() <= 2 && rest.iter().all(|byte| *byte == b'=') {
        return Some(Cow::Borrowed(text));
    }
    let mut clean = String::with_capacity(text.len() + 3);
    let mut padded = false;
    for byte in bytes {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => {}
            b'=' => padded = true,
            _ if padded => return None,
            b'-' => clean.push('+'),
            b'_' => clean.push('/'),
            other if plain(other) => clean.push(char::from(*other)),
            _ => return None,
        }
    }
    match clean.len() % 4 {
        _ if clean.is_empty() => return None,
        0 => {}
        2 => clean.push_str("=="),
        3 => clean.push('='),
        _ => return None,
    }
    Some(Cow::Owned(clean))
}

/// A member that must be base64.
#[inline(never)]
pub(crate) fn base64_of(holder: Value<'_, '_>, key: &str, path: &str) -> Result<String, Invalid> {
    let data = fields::or_empty(holder, key);
    clean_base64(&data).map(Cow::into_owned).ok_or_else(|| not_base64(path))
}

/// That data are broken.
#[inline(never)]
pub(crate) fn not_base64(path: &str) -> Invalid {
    Invalid::value(path, "the data is not valid base64")
}

/// Converse's word for an image's media type.
pub(crate) fn image_format(media_type: &str) -> Option<&'static str> {
    Some(by_name!(media_type => {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpeg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        _ => return None,
    }))
}

/// Document formats of Converse, by media type and by file extension.
const DOCUMENTS: &[(&str, &str)] = &[
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("html", "text/html"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
];

/// Converse's word for a document, by its media type, else by its name's extension.
pub(crate) fn document_format(media_type: &str, name: Option<&str>) -> Option<&'static str> {
    let by_type = DOCUMENTS.iter().find(|(_, known)| *known == media_type);
    let extension = name.and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
    // Markdown and tables are often sent as text/plain or octet-stream; their name says it better.
    let by_name = extension
        .and_then(|extension| DOCUMENTS.iter().find(|(format, _)| format.eq_ignore_ascii_case(extension)));
    match by_type {
        Some(("txt", _)) | None => by_name.or(by_type).map(|(format, _)| *format),
        Some((format, _)) => Some(format),
    }
}

/// The media type of a Converse document format.
pub(crate) fn document_type(format: &str) -> Option<&'static str> {
    DOCUMENTS.iter().find(|(known, _)| *known == format).map(|(_, media_type)| *media_type)
}

/// Converse's words for films; its `three_gp` is the only one that is no subtype.
const VIDEOS: &[(&str, &str)] = &[
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("flv", "video/x-flv"),
    ("mpeg", "video/mpeg"),
    ("mpg", "video/mpg"),
    ("wmv", "video/x-ms-wmv"),
    ("three_gp", "video/3gpp"),
];

/// Converse's word for a film's media type.
pub(crate) fn video_format(media_type: &str) -> Option<&'static str> {
    VIDEOS.iter().find(|(_, known)| *known == media_type).map(|(format, _)| *format)
}

/// The media type of a Converse video format.
pub(crate) fn video_type(format: &str) -> Option<&'static str> {
    VIDEOS.iter().find(|(known, _)| *known == format).map(|(_, media_type)| *media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_uris_are_taken_apart() {
        let uri = data_uri("data:image/PNG;base64,iVBORw==").unwrap();
        assert_eq!((uri.media_type.as_str(), uri.data.as_ref()), ("image/png", "iVBORw=="));
        let uri = data_uri("DATA:image/svg+xml;charset=utf-8;BASE64,AAAA").unwrap();
        assert_eq!(uri.media_type, "image/svg+xml");
        assert_eq!(data_uri("data:;base64,AAAA").unwrap().media_type, "text/plain");
        for bad in
            ["http://x/y.png", "data:image/png,abc", "data:image/png;base64,", "data:image/png;base64", "dat"]
        {
            assert_eq!(data_uri(bad), None, "{bad}");
        }
    }

    #[test]
    fn base64_is_mended_or_refused() {
        for (text, clean) in [
            ("AAAA", Some("AAAA")),
            ("AA==", Some("AA==")),
            ("AA", Some("AA==")),
            ("AAA", Some("AAA=")),
            ("-_8=", Some("+/8=")),
            ("AA\nAA", Some("AAAA")),
            ("A", None),
            ("", None),
            ("====", None),
            ("AA=A", None),
            ("A*AA", None),
            ("AAé", None),
        ] {
            assert_eq!(clean_base64(text).as_deref(), clean, "{text}");
        }
    }

    #[test]
    fn a_name_says_more_than_a_vague_type() {
        assert_eq!(document_format("application/pdf", Some("a.txt")), Some("pdf"));
        assert_eq!(document_format("text/plain", Some("notes.MD")), Some("md"));
        assert_eq!(document_format("text/plain", None), Some("txt"));
        assert_eq!(document_format("application/octet-stream", Some("t.csv")), Some("csv"));
        assert_eq!(document_format("application/octet-stream", Some("t.bin")), None);
    }
}
