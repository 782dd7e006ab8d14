// swift-tools-version: 6.2
// Attune: alignment of language models with human and AI preferences.
//
// Three leaf rooms that know nothing of one another (engine, objectives, data), the CPU engine behind
// the first one's protocol, one room where an algorithm is trained, one where feedback is kept, one
// that serves the page where people give it, and the command line, the only place that sees everything.

import PackageDescription

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .treatAllWarnings(as: .error),
]
// A public enum of a room becomes an option of a command by one conformance; with internal imports
// by default that would need `public import` in the executable, so only the rooms have it.
let room: [SwiftSetting] = strict + [.enableUpcomingFeature("InternalImportsByDefault")]

// Rooms are optimised. The command line, which reads options and calls them, and tests are not: a module then compiles
// in a third of the time. Tests of kernels are, for what they compare with takes long.
let plain: [SwiftSetting] = strict + [.unsafeFlags(["-Onone"])]

let package = Package(
  name: "Attune",
  platforms: [.macOS(.v15)],
  products: [
    // For apps: `import AttuneKit` brings the rooms that it is made of.
    .library(
      name: "Attune",
      targets: [
        "AttuneKit", "AttuneEngine", "AttuneNative", "AttuneObjectives", "AttuneData",
        "AttuneTraining", "AttuneRewards", "AttuneStudies",
      ]),
    // What keeps feedback, and the page that collects it.
    .library(name: "AttuneFeedback", targets: ["AttuneStore", "AttuneServer"]),
    .executable(name: "attune", targets: ["attune"]),
  ],
  // The server and what it depends on double the time of a build; `make quickstart` does without.
  traits: [
    .default(enabledTraits: ["Server"]),
    .trait(name: "Server", description: "The page where people give feedback: attune collect."),
    .trait(
      name: "MPI", description: "One run by several processes, on one machine or many: mpirun."),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    // Without its traits: they read configurations, which the page has no use for.
    .package(
      url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
    // What Hummingbird itself depends on, where its types are named.
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0", traits: []),
    .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.0.0"),
  ],
  targets: [
    // Pre-tokeniser patterns (Unicode classes, look-ahead, match limits).
    .systemLibrary(
      name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
    // `.gz` data files.
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    // Pages of Parquet files.
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    // SHA-256 of models, data and settings: the fingerprints of runs.
    .systemLibrary(
      name: "CLibCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),

    // Markdown of answers, as safe HTML.
    .systemLibrary(
      name: "CMarkGFM", pkgConfig: "libcmark-gfm",
      providers: [.apt(["libcmark-gfm-dev", "libcmark-gfm-extensions-dev"])]),

    // Messages between processes: Open MPI or MPICH.
    .systemLibrary(
      name: "CMPI", pkgConfig: "mpi-c", providers: [.apt(["libopenmpi-dev"])]),

    // -O3 in debug builds too: at -O0 the kernels are thirty times slower.
    .target(
      name: "CAttuneKernels",
      cSettings: [.unsafeFlags(["-O3", "-fno-math-errno", "-Wall", "-Werror"])]),
    // What is below all rooms: the processes that make one run together; files that are whole or not
    // there, their locks and digests.
    .target(
      name: "AttuneCollective",
      dependencies: [.target(name: "CMPI", condition: .when(traits: ["MPI"]))],
      swiftSettings: room),
    .target(
      name: "AttuneFiles", dependencies: ["AttuneCollective", "CLibCrypto"], swiftSettings: room),
    .target(
      name: "AttuneEngine", dependencies: ["AttuneCollective", "AttuneFiles"], swiftSettings: room),
    .target(
      name: "AttuneNative", dependencies: ["AttuneCollective", "AttuneEngine", "CAttuneKernels"],
      swiftSettings: room),
    .target(name: "AttuneObjectives", swiftSettings: room),
    .target(
      name: "AttuneData", dependencies: ["CPCRE2", "CZlib", "CZstd"], swiftSettings: room),
    .target(
      name: "AttuneTraining",
      dependencies: [
        "AttuneCollective", "AttuneFiles", "AttuneEngine", "AttuneObjectives", "AttuneData",
      ],
      swiftSettings: room),
    .target(
      name: "AttuneRewards",
      dependencies: [
        "AttuneTraining", "AttuneCollective", "AttuneFiles", "AttuneEngine", "AttuneObjectives",
        "AttuneData",
      ],
      resources: [.embedInCode("Judges/constitution.txt")], swiftSettings: room),
    .target(
      name: "AttuneStudies",
      dependencies: [
        "AttuneRewards", "AttuneTraining", "AttuneCollective", "AttuneFiles", "AttuneEngine",
        "AttuneObjectives", "AttuneData",
      ],
      swiftSettings: room),
    .target(
      name: "AttuneStore",
      dependencies: [
        "AttuneFiles", "AttuneObjectives", "AttuneData",
        .product(name: "GRDB", package: "GRDB.swift"),
      ],
      swiftSettings: room),
    .target(
      name: "AttuneServer",
      dependencies: [
        "AttuneFiles", "AttuneStore", "AttuneObjectives", "AttuneData", "CLibCrypto", "CMarkGFM",
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      resources: [
        "label.html", "labels.html", "progress.html", "page.css", "session.js", "verdicts.js",
        "label.js", "labels.js", "ranking.js", "progress.js", "charts.js", "icon.svg", "chat.html",
        "chat.css", "chat.js",
      ].map { .embedInCode("Page/\($0)") },
      swiftSettings: room),
    // Not "Attune": where a file system ignores case, that is the executable's folder.
    .target(
      name: "AttuneKit",
      dependencies: [
        "AttuneFiles", "AttuneEngine", "AttuneNative", "AttuneObjectives", "AttuneData",
        "AttuneTraining", "AttuneRewards", "AttuneStudies",
      ],
      swiftSettings: room),
    .executableTarget(
      name: "attune",
      dependencies: [
        "AttuneCollective", "AttuneFiles", "AttuneEngine", "AttuneNative", "AttuneObjectives",
        "AttuneData",
        "AttuneTraining", "AttuneRewards", "AttuneStudies", "AttuneStore",
        .target(name: "AttuneServer", condition: .when(traits: ["Server"])),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: plain),

    .target(
      name: "AttuneTestSupport", dependencies: ["AttuneCollective", "AttuneEngine"],
      path: "Tests/AttuneTestSupport", swiftSettings: strict),
    // Apart, so that the tests of the rooms below wait for no trainer.
    .target(
      name: "AttuneTrainingTestSupport",
      dependencies: [
        "AttuneTraining", "AttuneEngine", "AttuneNative", "AttuneObjectives", "AttuneData",
        "AttuneTestSupport",
      ],
      path: "Tests/AttuneTrainingTestSupport", swiftSettings: strict),
    .testTarget(
      name: "AttuneFilesTests", dependencies: ["AttuneFiles"], swiftSettings: plain),
    .testTarget(
      name: "AttuneEngineTests",
      dependencies: ["AttuneCollective", "AttuneFiles", "AttuneEngine", "AttuneTestSupport"],
      swiftSettings: plain),
    .testTarget(
      name: "AttuneNativeTests",
      dependencies: [
        "AttuneCollective", "AttuneNative", "AttuneEngine", "CAttuneKernels", "AttuneTestSupport",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "AttuneObjectivesTests", dependencies: ["AttuneObjectives", "AttuneTestSupport"],
      swiftSettings: plain),
    .testTarget(
      name: "AttuneDataTests", dependencies: ["AttuneData", "AttuneTestSupport"],
      swiftSettings: plain),
    .testTarget(
      name: "AttuneTrainingTests",
      dependencies: [
        "AttuneTraining", "AttuneFiles", "AttuneEngine", "AttuneNative", "AttuneObjectives",
        "AttuneData", "AttuneTestSupport", "AttuneTrainingTestSupport",
      ],
      swiftSettings: plain),
    .testTarget(
      name: "AttuneRewardsTests",
      dependencies: [
        "AttuneRewards", "AttuneTraining", "AttuneEngine", "AttuneNative", "AttuneObjectives",
        "AttuneData", "AttuneTestSupport", "AttuneTrainingTestSupport",
      ],
      swiftSettings: plain),
    .testTarget(
      name: "AttuneStudiesTests",
      dependencies: [
        "AttuneStudies", "AttuneRewards", "AttuneTraining", "AttuneFiles", "AttuneEngine",
        "AttuneNative", "AttuneObjectives", "AttuneData", "AttuneTestSupport",
        "AttuneTrainingTestSupport",
      ],
      swiftSettings: plain),
    .testTarget(
      name: "AttuneKitTests", dependencies: ["AttuneKit", "AttuneTestSupport"],
      swiftSettings: plain),
    .testTarget(
      name: "AttuneStoreTests",
      dependencies: [
        "AttuneStore", "AttuneFiles", "AttuneObjectives", "AttuneData",
        .product(name: "GRDB", package: "GRDB.swift"),
      ],
      swiftSettings: plain),
    .testTarget(
      name: "AttuneServerTests",
      dependencies: ["AttuneServer", "AttuneStore", "AttuneData", "AttuneTestSupport"],
      swiftSettings: plain),
    .testTarget(
      name: "AttuneCLITests", dependencies: ["attune", "AttuneStore", "AttuneTestSupport"],
      swiftSettings: plain),
  ]
)

// Only `make docs` needs it: nobody else fetches it.
if Context.environment["ATTUNE_DOCS"] != nil {
  package.dependencies.append(
    .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"))
}
