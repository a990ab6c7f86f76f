# GitHub's workflows take these roles on for an hour at most; there is no key that could be lost.
resource "aws_iam_openid_connect_provider" "github" {
  count          = var.create_oidc_provider ? 1 : 0
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

locals {
  oidc_arn = "${local.prefix}:iam::${local.account}:oidc-provider/token.actions.githubusercontent.com"
  subjects = {
    deploy = "ref:refs/heads/${var.github_branch}"
    apply  = "environment:${var.github_environments.apply}"
    jobs   = "environment:${var.github_environments.models}"
  }
  role_names = {
    deploy = "GitHubActionsRole"
    apply  = "GitHubActionsApplyRole"
    jobs   = "GitHubActionsJobsRole"
  }
}

data "aws_iam_policy_document" "trust" {
  #checkov:skip=CKV_AWS_358:repository and branch or environment are exact, variables refuse wildcards, a test reads the result
  for_each = local.subjects
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
      values   = ["repo:${var.github_repository}:${each.value}"]
    }
  }
}

resource "aws_iam_role" "github" {
  for_each             = local.role_names
  name                 = each.value
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  max_session_duration = 3600
  depends_on           = [aws_iam_openid_connect_provider.github]
}
