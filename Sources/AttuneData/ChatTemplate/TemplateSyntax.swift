// SPDX-License-Identifier: Apache-2.0

/// An expression of the template language with its line and the height of its tree, which bounds
/// how deep evaluation goes.
struct TemplateExpression: Sendable {
  indirect enum Kind: Sendable {
    case literal(TemplateValue)
    case name(String)
    case list([TemplateExpression])
    case dictionary([(TemplateExpression, TemplateExpression)])
    case attribute(TemplateExpression, String)
    case item(TemplateExpression, TemplateExpression)
    case slice(
      TemplateExpression, from: TemplateExpression?, to: TemplateExpression?,
      by: TemplateExpression?)
    case call(TemplateExpression, [TemplateArgument])
    case filter(TemplateExpression, String, [TemplateArgument])
    case test(TemplateExpression, String, [TemplateExpression])
    case negative(TemplateExpression)
    case binary(String, TemplateExpression, TemplateExpression)
    /// A chain such as `a < b < c`.
    case compare(TemplateExpression, [(String, TemplateExpression)])
    case and(TemplateExpression, TemplateExpression)
    case or(TemplateExpression, TemplateExpression)
    case not(TemplateExpression)
    case conditional(
      then: TemplateExpression, when: TemplateExpression, otherwise: TemplateExpression?)
  }

  var kind: Kind
  var line: Int
  var height: Int
}

/// An argument of a call or a filter.
struct TemplateArgument: Sendable {
  /// What an argument with stars in front gives.
  enum Spread: Sendable {
    /// `*`: arguments without a name.
    case list
    /// `**`: arguments with their names.
    case dictionary
  }

  var name: String?
  var spread: Spread?
  var value: TemplateExpression
}

/// What `set` and `for` assign to.
enum TemplateTarget: Sendable {
  case names([String])
  case attribute(of: String, String)
}

/// A statement of the template language.
indirect enum TemplateStatement: Sendable {
  case text(String)
  case output(TemplateExpression)
  case loop(
    targets: [String], over: TemplateExpression, filter: TemplateExpression?,
    body: [TemplateStatement], otherwise: [TemplateStatement], line: Int)
  case conditional([(TemplateExpression, [TemplateStatement])], otherwise: [TemplateStatement])
  case assign(TemplateTarget, TemplateExpression)
  case capture(TemplateTarget, filters: [(String, [TemplateArgument])], [TemplateStatement], Int)
  case filtered([(String, [TemplateArgument])], [TemplateStatement], Int)
  case macro(String, TemplateMacro)
  case scoped([(String, TemplateExpression)], [TemplateStatement])
  /// `{% generation %}`: what the assistant says, put out like all else.
  case block([TemplateStatement])
  case leaveLoop
  case nextRound
}

/// A macro's parameters and body.
struct TemplateMacro: Sendable {
  var name: String
  var parameters: [(name: String, fallback: TemplateExpression?)]
  var body: [TemplateStatement]
}
