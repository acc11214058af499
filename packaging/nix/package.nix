# nix-build -E 'with import <nixpkgs> {}; callPackage ./packaging/nix/package.nix {}'
# The units name the programs by their place in the store; on NixOS: systemd.packages = [ leco ];
{
  lib,
  rustPlatform,
  clang,
  pkg-config,
  elfutils,
  zlib,
  sdl3,
  sdl3-ttf,
  withOverlay ? true,
}:

let
  makeArguments = lib.escapeShellArgs (
    [ "PREFIX=${placeholder "out"}" ]
    ++ (
      if withOverlay then
        [ "CARGOFLAGS=--no-default-features --features leco-sdl-widget/system-sdl" ]
      else
        [ "OVERLAY=no" ]
    )
  );
in
rustPlatform.buildRustPackage {
  pname = "leco";
  version = "0.1.0";
  src = lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;

  nativeBuildInputs = [ clang pkg-config ];
  buildInputs = [ elfutils zlib ] ++ lib.optionals withOverlay [ sdl3 sdl3-ttf ];

  # The wrapper of clang adds what the target bpf does not know.
  hardeningDisable = [ "all" ];

  buildPhase = ''
    runHook preBuild
    make ${makeArguments}
    runHook postBuild
  '';
  installPhase = ''
    runHook preInstall
    make install ${makeArguments}
    runHook postInstall
  '';
  # Tests need root and a kernel of their own: script/test.
  doCheck = false;

  meta = {
    description = "Who on this machine talks to whom: network connections as lines that appear, are updated and fade";
    license = lib.licenses.gpl3Plus;
    platforms = [ "x86_64-linux" "aarch64-linux" ];
    mainProgram = "leco-tui";
  };
}
