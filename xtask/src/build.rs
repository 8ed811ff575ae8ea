//! `build`: the module and the `weir` binary; for tests also the modules that only tests load.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::paths;
use crate::process::{Context, Error, Result, cargo, copy_if_changed, run, run_quietly, say};
use crate::sections;
use crate::setup::binaryen;
use crate::setup::wasm::{self, TARGET};

/// A module to build: one crate, one set of features.
struct Module {
    package: &'static str,
    features: &'static str,
    /// Its name below `target/weir/`, without extension.
    name: &'static str,
}

const MODULE: Module = Module { package: "weir-wasm", features: "", name: "weir" };
const TEST_MODULES: [Module; 3] = [
    // Panics when a request asks for it.
    Module { package: "weir-wasm", features: "planted-faults", name: "weir-faults" },
    // Measures what the design rests on, and is the filter that does nothing in benchmarks.
    Module { package: "weir-probe", features: "", name: "probe" },
    // Other code behind the same `vm_id`, as after an upgrade.
    Module { package: "weir-probe", features: "second-version", name: "probe-2" },
];

/// For size, with what rustc's wasm target uses and every Envoy that we support runs. `--flatten --rereloop` would save
/// another 4 KB, but what it makes takes V8 some 25 ms longer to compile.
///
/// The first KiB of memory is the stack's last, so that no address lies there and one that is summed with less than that
/// cannot have wrapped: such a sum becomes part of the load. The compiler has inlined what is called once, where that is
/// smaller. What is computed again is kept, and constants that a function has often are named once, which V8 sees through.
/// Functions called often get the short numbers.
const WASM_OPT: [&str; 15] = [
    "--low-memory-unused",
    "--one-caller-inline-max-function-size",
    "0",
    "--rse",
    "-Oz",
    "--local-cse",
    "--simplify-locals",
    "-Oz",
    "--const-hoisting",
    "--reorder-functions",
    "--enable-bulk-memory",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-simd",
];

/// What users need.
pub fn all() -> Result {
    with(&[])
}

/// The same with these vocabularies built into the module; none are those of its default.
pub fn with(tokenizers: &[String]) -> Result {
    module(&MODULE, tokenizers)?;
    server()
}

/// What tests need besides.
pub fn for_tests() -> Result {
    all()?;
    TEST_MODULES.iter().try_for_each(|wanted| module(wanted, &[]))
}

/// What benchmarks need: no planted faults.
pub fn for_bench() -> Result {
    module(&MODULE, &[])?;
    server()?;
    TEST_MODULES.iter().filter(|wanted| wanted.name == "probe").try_for_each(|wanted| module(wanted, &[]))
}

fn server() -> Result {
    say("building weir");
    run(cargo().args(["build", "--release", "-p", "weir"]))
}

fn module(wanted: &Module, tokenizers: &[String]) -> Result {
    let toolchain = wasm::find().ok_or_else(|| Error::new("no toolchain for wasm: run cargo xtask setup"))?;
    // A cdylib's file name does not tell its features apart, so that two sets of features would take turns in
    // overwriting each other: each set has a folder of its own.
    let folder = match wanted.features {
        "" => paths::target(),
        features => paths::weir().join("build").join(features),
    };
    let mut command = toolchain.cargo_build();
    command.args(["--profile", "wasm", "-p", wanted.package]).arg("--target-dir").arg(&folder);
    if !tokenizers.is_empty() {
        command.args(["--no-default-features", "--features", &tokenizers.join(",")]);
    }
    if !wanted.features.is_empty() {
        command.args(["--features", wanted.features]);
    }
    wasm::run_build(&mut command, &format!("{}.wasm", wanted.name))?;
    let crate_file = format!("{}.wasm", wanted.package.replace('-', "_"));
    let built = folder.join(TARGET).join("wasm").join(crate_file);
    let built = made_smaller(built)?;
    let place = paths::weir().join(format!("{}.wasm", wanted.name));
    if copy_if_changed(&built, &place)? {
        say(format!("{} ({} KB)", shown(&place), size(&place)? / 1000));
    }
    Ok(())
}

/// The module after `wasm-opt`, beside the one that cargo made; that one itself where the tool is missing.
///
/// The tool sees no data: it would cut the tables at their zeros into as many segments as an engine takes, so that none
/// can be added.
fn made_smaller(built: PathBuf) -> Result<PathBuf> {
    if !binaryen::found() {
        say("wasm-opt is missing: the module starts a little slower (cargo xtask setup installs it)");
        return Ok(built);
    }
    let small = built.with_extension("small.wasm");
    let modified = |path: &Path| std::fs::metadata(path).and_then(|of| of.modified());
    // This program holds the options.
    let made_by = std::env::current_exe().and_then(|program| modified(&program));
    if let (Ok(small_at), Ok(built_at), Ok(made_by_at)) = (modified(&small), modified(&built), made_by)
        && small_at > built_at.max(made_by_at)
    {
        return Ok(small);
    }
    let module = read(&built)?;
    let (code, tables) = sections::apart(&module)
        .ok_or_else(|| Error::new(format!("{} is not a whole wasm module", built.display())))?;
    let part = built.with_extension("code.wasm");
    write(&part, &code)?;
    run_quietly(Command::new("wasm-opt").args(WASM_OPT).arg(&part).arg("-o").arg(&part))?;
    let code = read(&part)?;
    let whole = sections::together(&code, tables)
        .ok_or_else(|| Error::new(format!("{} is not a whole wasm module", part.display())))?;
    write(&small, &whole)?;
    Ok(small)
}

/// The module alone.
pub fn the_module() -> Result {
    module(&MODULE, &[])
}

/// What [`crate::size`] takes apart: a build of the module with its debug information, and what `wasm-opt` makes of its
/// code, with the functions' names.
pub fn with_names() -> Result<(Vec<u8>, Vec<u8>)> {
    let toolchain = wasm::find().ok_or_else(|| Error::new("no toolchain for wasm: run cargo xtask setup"))?;
    if !binaryen::found() {
        return Err(Error::new("wasm-opt is missing: run cargo xtask setup"));
    }
    let folder = paths::weir().join("build/size");
    let mut command = toolchain.cargo_build();
    command.args(["--profile", "wasm", "-p", MODULE.package]).arg("--target-dir").arg(&folder);
    command.args(["--config", "profile.wasm.strip=false"]);
    command.args(["--config", "profile.wasm.debug=\"line-tables-only\""]);
    wasm::run_build(&mut command, "the module with its names")?;
    let built = folder.join(TARGET).join("wasm").join("weir_wasm.wasm");
    let module = read(&built)?;
    let whole = || Error::new(format!("{} is not a whole wasm module", built.display()));
    let named = sections::without_debug_information(&module).ok_or_else(whole)?;
    let (code, _) = sections::apart(&named).ok_or_else(whole)?;
    let part = built.with_extension("code.wasm");
    write(&part, &code)?;
    run_quietly(Command::new("wasm-opt").args(WASM_OPT).arg("-g").arg(&part).arg("-o").arg(&part))?;
    Ok((module, read(&part)?))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).context(format!("cannot read {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result {
    std::fs::write(path, bytes).context(format!("cannot write {}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(paths::root()).unwrap_or(path).display().to_string()
}

fn size(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).context("cannot read the module")?.len())
}
