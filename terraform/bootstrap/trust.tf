# GitHub's workflows assume these roles for some hours at most; there is no key that could be lost.
resource "aws_iam_openid_connect_provider" "github" {
  count          = var.create_oidc_provider ? 1 : 0
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

locals {
  oidc_arn = "${local.prefix}:iam::${local.account}:oidc-provider/token.actions.githubusercontent.com"
  # A repository with ids in its subject had none before; whoever takes its name over gets ids of their own.
  subjects = distinct([var.github_repository, replace(var.github_repository, "/@[0-9]+/", "")])

  main_branch = "ref:refs/heads/${var.github_branch}"
  # role = the one context of a workflow that may assume it, and for how long
  roles = merge(
    { deploy = { name = "${var.github_role_prefix}Role", context = local.main_branch, hours = 1 } },
    { for environment in keys(var.environments) : "${environment}-apply" => {
      name = "${var.github_role_prefix}-${environment}-apply", context = "environment:${environment}", hours = 2
    } },
    { for environment in keys(var.environments) : "${environment}-plan" => {
      name = "${var.github_role_prefix}-${environment}-plan", context = local.main_branch, hours = 1
    } },
    { for environment in keys(var.environments) : "${environment}-review" => {
      name = "${var.github_role_prefix}-${environment}-review", context = "pull_request", hours = 1
    } },
    # a retraining takes hours, and its workflow follows it to the end
    { for environment in keys(var.environments) : "${environment}-jobs" => {
      name = "${var.github_role_prefix}-${environment}-jobs", context = "environment:${environment}-models", hours = 6
    } },
  )
}

data "aws_iam_policy_document" "trust" {
  #checkov:skip=CKV_AWS_358:repository and context are exact, variables refuse wildcards, a test reads the result
  for_each = local.roles
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [local.oidc_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:sub"
      values   = [for subject in local.subjects : "repo:${subject}:${each.value.context}"]
    }
  }
}

resource "aws_iam_role" "github" {
  for_each             = local.roles
  name                 = each.value.name
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  max_session_duration = 3600 * each.value.hours
  depends_on           = [aws_iam_openid_connect_provider.github]
}
