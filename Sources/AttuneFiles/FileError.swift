// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A file that could not be read, written or locked, in words that a person at the command line can
/// act on.
public struct FileError: Error, Sendable, CustomStringConvertible {
  /// One line that names the file and what the system said.
  public let message: String

  /// The message.
  public var description: String { message }

  package init(_ message: String) { self.message = message }

  /// That the last system call failed on a file.
  ///
  /// - Parameters:
  ///   - what: What could not be done: `can't be written`.
  ///   - path: The file.
  package init(_ what: String, _ path: String) {
    self.init("\(path): \(what): \(String(cString: strerror(errno)))")
  }
}

/// What a Foundation error says, without its envelope.
package func reason(_ error: any Error) -> String {
  let error = error as NSError
  if error.domain == NSPOSIXErrorDomain { return String(cString: strerror(Int32(error.code))) }
  if let inner = error.userInfo[NSUnderlyingErrorKey] as? NSError,
    inner.domain == NSPOSIXErrorDomain
  {
    return String(cString: strerror(Int32(inner.code)))
  }
  return error.localizedDescription
}
