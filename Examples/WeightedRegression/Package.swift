// swift-tools-version: 6.2

import PackageDescription

let package = Package(
  name: "WeightedRegression",
  platforms: [.macOS(.v15)],
  dependencies: [
    // No traits: without the page for labelling, and the server below it.
    .package(name: "Attune", path: "../..", traits: [])
  ],
  targets: [
    .executableTarget(
      name: "WeightedRegression", dependencies: [.product(name: "Attune", package: "Attune")],
      path: "Sources")
  ]
)
