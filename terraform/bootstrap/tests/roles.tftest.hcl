mock_provider "aws" {
  source = "../tests/mocks"
  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }
}

variables {
  github_repository = "acme/fraud"
}

run "roles" {
  assert {
    condition     = { for purpose, role in aws_iam_role.github : purpose => role.name } == { deploy = "GitHubActionsRole", apply = "GitHubActionsApplyRole", jobs = "GitHubActionsJobsRole" }
    error_message = "three roles"
  }
  assert {
    condition = { for purpose, document in data.aws_iam_policy_document.trust : purpose => [
      for condition in one(document.statement).condition : "${condition.test} ${one(condition.values)}" if endswith(condition.variable, ":sub")
      ] } == {
      deploy = ["StringEquals repo:acme/fraud:ref:refs/heads/main"]
      apply  = ["StringEquals repo:acme/fraud:environment:production"]
      jobs   = ["StringEquals repo:acme/fraud:environment:models"]
    }
    error_message = "each role trusts one branch or environment of one repository"
  }
  assert {
    condition = alltrue([for document in data.aws_iam_policy_document.trust : anytrue([
      for condition in one(document.statement).condition : endswith(condition.variable, ":aud") && one(condition.values) == "sts.amazonaws.com"
    ])])
    error_message = "and AWS's audience alone"
  }
  assert {
    condition = toset(flatten([for statement in data.aws_iam_policy_document.deploy.statement : statement.resources if contains(statement.actions, "iam:PassRole")])) == toset([
      "arn:aws:iam::123456789012:role/fraud-detection-gateway", "arn:aws:iam::123456789012:role/fraud-detection-gateway-access",
    ])
    error_message = "the deploy role hands over the gateway's two roles alone"
  }
  assert {
    condition = length(setsubtract(
      ["ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"],
      flatten([for statement in data.aws_iam_policy_document.deploy.statement : statement.actions]),
    )) == 0
    error_message = "the deploy role can push"
  }
  assert {
    condition = alltrue([for statement in data.aws_iam_policy_document.jobs.statement :
      !contains(statement.actions, "ecs:RunTask") || alltrue([for resource in statement.resources : can(regex("task-definition/fraud-detection-(main|retrain|rollback):\\*$", resource))])
    ])
    error_message = "the jobs role starts training and rollbacks alone"
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.image : repository.image_tag_mutability == "IMMUTABLE" && one(repository.image_scanning_configuration).scan_on_push && one(repository.encryption_configuration).encryption_type == "AES256"])
    error_message = "images are scanned, encrypted, and their tags do not move"
  }
  assert {
    condition     = { for image, repository in aws_ecr_repository.image : image => repository.name } == { gateway = "fraud-detection-api", pipelines = "fraud-detection-pipelines", mlflow = "fraud-detection-mlflow" }
    error_message = "the repositories' names"
  }
  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled" && aws_s3_bucket_public_access_block.state.restrict_public_buckets
    error_message = "the state is versioned and private"
  }
  assert {
    condition = alltrue([for statement in data.aws_iam_policy_document.apply.statement :
      !anytrue([for action in statement.actions : contains(["iam:*", "*", "iam:CreateUser", "iam:CreatePolicy", "iam:CreatePolicyVersion"], action)])
    ])
    error_message = "Terraform cannot make itself an administrator"
  }
}

run "no_wildcard_in_the_trust" {
  command = plan
  variables {
    github_repository = "acme/*"
  }
  expect_failures = [var.github_repository]
}
