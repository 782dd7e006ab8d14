// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Bytes sent to a server as they are, and what comes back: requests that no client would make.
enum RawConnection {
  struct Failure: Error {}

  /// Sends and reads until the server closes or is silent.
  ///
  /// - Parameter patience: Seconds of silence after which nothing more is expected.
  static func ask(
    _ address: String, _ request: String, patience: Double = 30
  ) async throws -> String {
    // What blocks is kept from the pool's threads, which the server needs.
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread {
        continuation.resume(with: Result { try exchange(address, request, patience) })
      }
    }
  }

  private static func exchange(
    _ address: String, _ request: String, _ patience: Double
  ) throws -> String {
    guard let port = URL(string: address)?.port else { throw Failure() }
    #if canImport(Darwin)
      let connection = socket(AF_INET, SOCK_STREAM, 0)
    #else
      let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #endif
    defer { close(connection) }
    var place = sockaddr_in()
    place.sin_family = sa_family_t(AF_INET)
    place.sin_port = in_port_t(port).bigEndian
    place.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let isOpen = withUnsafePointer(to: &place) { place in
      place.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(connection, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    guard isOpen else { throw Failure() }
    var limit = timeval(
      tv_sec: Int(patience), tv_usec: .init((patience - patience.rounded(.down)) * 1_000_000))
    setsockopt(
      connection, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    signal(SIGPIPE, SIG_IGN)
    let bytes = Array(request.utf8)
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        send(connection, $0.baseAddress.map { $0 + sent }, bytes.count - sent, 0)
      }
      guard count > 0 else { break }
      sent += count
    }
    var answer: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = recv(connection, &piece, piece.count, 0)
      guard count > 0 else { break }
      answer += piece[..<count]
    }
    return String(decoding: answer, as: UTF8.self)
  }
}
