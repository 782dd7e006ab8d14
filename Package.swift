// swift-tools-version: 6.2
// Attune: alignment of language models with human and AI preferences.
//
// Three leaf rooms that know nothing of one another (engine, objectives, data), one room where an
// algorithm is trained, one where feedback is kept, and the command line, the only place that sees
// everything.

import PackageDescription

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .treatAllWarnings(as: .error),
]
// A public enum of a room becomes an option of a command by one conformance; with internal imports
// by default that would need `public import` in the executable, so only the rooms have it.
let room: [SwiftSetting] = strict + [.enableUpcomingFeature("InternalImportsByDefault")]

let package = Package(
  name: "Attune",
  platforms: [.macOS(.v15)],
  products: [
    .library(
      name: "Attune",
      targets: [
        "AttuneEngine", "AttuneObjectives", "AttuneData", "AttuneTraining", "AttuneStore",
      ]),
    .executable(name: "attune", targets: ["attune"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
  ],
  targets: [
    // Pre-tokeniser patterns (Unicode classes, look-ahead, match limits).
    .systemLibrary(
      name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
    // `.gz` data files.
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    // SHA-256 of models, data and settings: the fingerprints of runs.
    .systemLibrary(
      name: "CLibCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),

    // -O3 in debug builds too: at -O0 the kernels are thirty times slower.
    .target(
      name: "CAttuneKernels",
      cSettings: [.unsafeFlags(["-O3", "-fno-math-errno", "-Wall", "-Werror"])]),
    .target(name: "AttuneEngine", dependencies: ["CAttuneKernels"], swiftSettings: room),
    .target(name: "AttuneObjectives", swiftSettings: room),
    .target(name: "AttuneData", dependencies: ["CPCRE2", "CZlib"], swiftSettings: room),
    .target(
      name: "AttuneTraining",
      dependencies: ["AttuneEngine", "AttuneObjectives", "AttuneData", "CLibCrypto"],
      resources: [.embedInCode("Judging/constitution.txt")], swiftSettings: room),
    .target(
      name: "AttuneStore",
      dependencies: [
        "AttuneObjectives", "AttuneData", "CLibCrypto",
        .product(name: "GRDB", package: "GRDB.swift"),
      ],
      swiftSettings: room),
    .executableTarget(
      name: "attune",
      dependencies: [
        "AttuneEngine", "AttuneObjectives", "AttuneData", "AttuneTraining", "AttuneStore",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),

    .target(name: "AttuneTestSupport", path: "Tests/AttuneTestSupport", swiftSettings: strict),
    .testTarget(
      name: "AttuneEngineTests",
      dependencies: ["AttuneEngine", "CAttuneKernels", "AttuneTestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "AttuneObjectivesTests", dependencies: ["AttuneObjectives", "AttuneTestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "AttuneDataTests", dependencies: ["AttuneData", "AttuneTestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "AttuneTrainingTests",
      dependencies: [
        "AttuneTraining", "AttuneEngine", "AttuneObjectives", "AttuneData", "AttuneTestSupport",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "AttuneStoreTests",
      dependencies: ["AttuneStore", "AttuneObjectives", "AttuneData"],
      swiftSettings: strict),
    .testTarget(
      name: "AttuneCLITests", dependencies: ["attune", "AttuneTestSupport"],
      swiftSettings: strict),
  ]
)
