// SPDX-License-Identifier: Apache-2.0

#if Server
  import ArgumentParser
  import AttuneServer
  import Foundation

  /// Where something is served.
  struct AddressOptions: ParsableArguments {
    @Option(
      help: ArgumentHelp(
        "The port; 0 takes a free one (default: 8642, of serve 8000).", valueName: "n"))
    var port: Int?

    @Option(
      help: ArgumentHelp(
        "An address of this machine to serve others at; 0.0.0.0 is all.", valueName: "address"))
    var host: String?

    func validate() throws {
      if let port, !(0...65_535).contains(port) {
        throw ValidationError("--port \(port): give 0 to 65535.")
      }
    }

    /// The address; beyond this machine there is always a token.
    func address(
      port standard: Int, token: String?, annotators: [String] = []
    ) throws -> PageServer.Address {
      var address = PageServer.Address()
      address.host = host ?? "127.0.0.1"
      address.port = port ?? standard
      address.token = token ?? (address.isLocal ? nil : PageServer.makeToken())
      address.annotators = annotators
      do {
        try address.validate()
      } catch let error as ServerError {
        throw ValidationError(error.message)
      }
      return address
    }
  }

  /// Where the page is served on which people are asked, and to whom.
  struct ServerOptions: ParsableArguments {
    @OptionGroup var place: AddressOptions

    @Option(
      help: ArgumentHelp(
        "What others have to know, 16 characters or more (default: a random one).",
        valueName: "text"))
    var token: String?

    @Option(
      name: .customLong("annotator"),
      help: ArgumentHelp(
        "Somebody who is asked; repeatable, each gets a link (default: anybody).", valueName: "name"
      ))
    var annotators: [String] = []

    @Option(
      help: ArgumentHelp(
        "A Markdown file that stands beside every question: what to go by.", valueName: "file"),
      completion: .file(extensions: ["md"]))
    var guidelines: String?

    /// Whether any of them is there.
    var isGiven: Bool {
      place.port != nil || place.host != nil || token != nil || !annotators.isEmpty
        || guidelines != nil
    }

    /// The file of guidelines.
    var guidelinesFile: URL? { guidelines.map { URL(filePath: $0) } }

    /// The address; beyond this machine there is always a token.
    func address() throws -> PageServer.Address {
      try place.address(port: 8642, token: token, annotators: annotators)
    }
  }
#endif
