// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Text made safe for HTML and for attributes in double quotes; control characters that no
/// document may hold become the replacement character.
func escapedHTML(_ text: String) -> String {
  var out = ""
  out.reserveCapacity(text.utf8.count + 16)
  for scalar in text.unicodeScalars {
    switch scalar {
    case "&": out += "&amp;"
    case "<": out += "&lt;"
    case ">": out += "&gt;"
    case "\"": out += "&quot;"
    case "'": out += "&#39;"
    case "\n", "\t": out.unicodeScalars.append(scalar)
    default:
      let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
      out.unicodeScalars.append(isControl ? "\u{FFFD}" : scalar)
    }
  }
  return out
}
