# Push images, exchange the gateway's image, hand over the gateway's two roles. Nothing else.
data "aws_iam_policy_document" "deploy" {
  #checkov:skip=CKV_AWS_356:these four actions know no resource; the others below name theirs
  statement {
    sid = "KnowNoResource"
    actions = [
      "ecr:GetAuthorizationToken",
      "ecs:DescribeTaskDefinition",
      "ecs:ListTaskDefinitions",
      "apprunner:ListServices",
    ]
    resources = ["*"]
  }
  statement {
    sid = "Push"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:DescribeImages",
      "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [for repository in aws_ecr_repository.image : repository.arn]
  }
  statement {
    sid       = "DeployOnAppRunner"
    actions   = ["apprunner:DescribeService", "apprunner:UpdateService", "apprunner:StartDeployment"]
    resources = ["${local.prefix}:apprunner:${var.region}:${local.account}:service/${var.name}-api/*"]
  }
  statement {
    sid       = "DeployOnEcs"
    actions   = ["ecs:DescribeServices", "ecs:UpdateService"]
    resources = ["${local.prefix}:ecs:${var.region}:${local.account}:service/${var.name}/${var.name}-api"]
  }
  statement {
    sid     = "HandOverTheGatewaysRoles"
    actions = ["iam:PassRole"]
    resources = [
      "${local.prefix}:iam::${local.account}:role/${var.name}-gateway",
      "${local.prefix}:iam::${local.account}:role/${var.name}-gateway-access",
    ]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["apprunner.amazonaws.com", "build.apprunner.amazonaws.com", "tasks.apprunner.amazonaws.com", "ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "deploy" {
  name   = "deploy"
  role   = aws_iam_role.github["deploy"].id
  policy = data.aws_iam_policy_document.deploy.json
}
